//! A Kerberos realm of this machine's own: MIT's KDC as a normal process, with its database in a folder that goes with it.

use crate::{Error, Process, ports, wait_until};
use std::{
    ffi::OsStr,
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

const START: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(10);
const TRIES: usize = 5;
const NEEDED_FOR: &str =
    "makes a Kerberos realm (install krb5-kdc, krb5-admin-server and krb5-user, or their like)";
/// What is called here.
const PROGRAMS: [&str; 4] = ["kdb5_util", "kadmin.local", "krb5kdc", "kinit"];
/// Where Debian has what is for administrators, who alone have it on their paths.
const MORE_FOLDERS: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// A running KDC of the realm [`Kdc::REALM`]. Dropping it kills the process and removes its folder.
#[derive(Debug)]
pub struct Kdc {
    folder: PathBuf,
    port: u16,
    process: Option<Process>,
}

impl Kdc {
    /// The realm.
    pub const REALM: &str = "PARALOG.TEST";

    /// Makes a realm without principals and starts its KDC.
    ///
    /// # Errors
    /// [`Error::Missing`] without MIT's programs, [`Error::Failed`] with the last words of the one that failed.
    pub fn start() -> Result<Kdc, Error> {
        if let Some(error) = Kdc::missing() {
            return Err(error);
        }
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("paralog-kdc-{}-{serial}", std::process::id()));
        let _ = fs::remove_dir_all(&folder); // of an earlier process with our id
        fs::create_dir_all(&folder).map_err(Error::io("cannot create", &folder))?;
        let mut kdc = Kdc { folder, port: 0, process: None };
        let mut tries = 1;
        loop {
            kdc.port = ports::free(1)[0];
            kdc.write_settings()?;
            if tries == 1 {
                kdc.run("kdb5_util", &["create", "-s", "-r", Kdc::REALM, "-P", "master-secret"])?;
            }
            match kdc.start_again() {
                // Another process was faster with the port.
                Err(Error::Ended { tail, .. }) if tries < TRIES && tail.contains("in use") => tries += 1,
                started => return started.map(|()| kdc),
            }
        }
    }

    /// Why there can be no KDC, if one of MIT's programs is not installed.
    #[must_use]
    pub fn missing() -> Option<Error> {
        let program = PROGRAMS.into_iter().find(|program| find(program).is_none())?;
        let source = std::io::ErrorKind::NotFound.into();
        Some(Error::Missing { program: program.to_owned(), needed_for: NEEDED_FOR, source })
    }

    /// Its `krb5.conf`: what clients and brokers are shown (`KRB5_CONFIG`, `java.security.krb5.conf`).
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.file("krb5.conf")
    }

    /// A file in its folder, which nobody else can read.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Adds a principal whose tickets last for `life`, and gives a keytab with its key.
    ///
    /// # Errors
    /// [`Error::Failed`].
    pub fn add(&self, name: &str, life: Duration) -> Result<PathBuf, Error> {
        let keytab = self.file(&format!("{}.keytab", name.replace('/', "-")));
        let life = format!("{} seconds", life.as_secs());
        self.run("kadmin.local", &["addprinc", "-randkey", "-maxlife", &life, name])?;
        self.run("kadmin.local", &["ktadd".as_ref(), "-k".as_ref(), keytab.as_os_str(), name.as_ref()])?;
        Ok(keytab)
    }

    /// Gives a principal another key, so that its keytabs are of no use any more.
    ///
    /// # Errors
    /// [`Error::Failed`].
    pub fn change_key(&self, name: &str) -> Result<(), Error> {
        self.run("kadmin.local", &["cpw", "-randkey", name])
    }

    /// Forgets a principal; its keytabs stay.
    ///
    /// # Errors
    /// [`Error::Failed`].
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        self.run("kadmin.local", &["delprinc", "-force", name])
    }

    /// Puts a ticket of the principal into a cache, as a person would.
    ///
    /// # Errors
    /// [`Error::Failed`].
    pub fn kinit(&self, name: &str, keytab: &Path, cache: &Path) -> Result<(), Error> {
        let (keytab, cache) = (keytab.as_os_str(), cache.as_os_str());
        let arguments: [&OsStr; 6] =
            ["-k".as_ref(), "-t".as_ref(), keytab, "-c".as_ref(), cache, name.as_ref()];
        self.run("kinit", &arguments)
    }

    /// How often it has given out a ticket for `service`, which is a whole principal, to `client`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn tickets_given(&self, client: &str, service: &str) -> Result<usize, Error> {
        let log = self.file("kdc.log");
        let text = fs::read_to_string(&log).map_err(Error::io("cannot read", &log))?;
        let given = format!("{client}@{realm} for {service}", realm = Kdc::REALM);
        Ok(text.lines().filter(|line| line.contains(" ISSUE: ") && line.ends_with(&given)).count())
    }

    /// Kills it. Its realm stays.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn stop(&mut self) -> Result<(), Error> {
        self.process.take().map_or(Ok(()), |mut process| process.stop(STOP))
    }

    /// Freezes it: it is there, and silent.
    pub fn pause(&self) {
        if let Some(process) = &self.process {
            process.signal("STOP");
        }
    }

    /// Lets a frozen one go on.
    pub fn resume(&self) {
        if let Some(process) = &self.process {
            process.signal("CONT");
        }
    }

    /// Starts it again, on the same port.
    ///
    /// # Errors
    /// [`Error::Ended`] with its last words, [`Error::TimedOut`].
    pub fn start_again(&mut self) -> Result<(), Error> {
        let mut command = self.command("krb5kdc");
        command.arg("-n");
        let mut process = Process::start("krb5kdc", command, self.file("kdc.out"))?;
        wait_until("the KDC to listen", START, || {
            process.check_alive()?;
            Ok(TcpStream::connect(("127.0.0.1", self.port)).ok())
        })?;
        self.process = Some(process);
        Ok(())
    }

    fn write_settings(&self) -> Result<(), Error> {
        let (realm, port, folder) = (Kdc::REALM, self.port, self.folder.display());
        let client = format!(
            "[libdefaults]\n default_realm = {realm}\n dns_lookup_kdc = false\n dns_lookup_realm = false\n \
             dns_canonicalize_hostname = false\n rdns = false\n[realms]\n {realm} = {{\n  kdc = 127.0.0.1:{port}\n }}\n"
        );
        let own = format!(
            "[kdcdefaults]\n kdc_listen = 127.0.0.1:{port}\n kdc_tcp_listen = 127.0.0.1:{port}\n[realms]\n {realm} = {{\n  \
             database_name = {folder}/principal\n  key_stash_file = {folder}/stash\n  acl_file = {folder}/acl\n  \
             max_life = 1d\n  default_principal_flags = +preauth\n }}\n[logging]\n kdc = FILE:{folder}/kdc.log\n"
        );
        for (name, text) in [("krb5.conf", client), ("kdc.conf", own)] {
            let file = self.file(name);
            fs::write(&file, text).map_err(Error::io("cannot write", &file))?;
        }
        Ok(())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(find(program).unwrap_or_else(|| PathBuf::from(program)));
        command.env("KRB5_CONFIG", self.config()).env("KRB5_KDC_PROFILE", self.file("kdc.conf"));
        command
    }

    fn run<S: AsRef<OsStr>>(&self, program: &str, arguments: &[S]) -> Result<(), Error> {
        let mut command = self.command(program);
        command.args(arguments);
        let missing = |source| Error::Missing { program: program.to_owned(), needed_for: NEEDED_FOR, source };
        let output = command.output().map_err(missing)?;
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        // kadmin.local ends well whatever became of the request.
        let succeeded = output.status.success() && !(program == "kadmin.local" && said.contains(" while "));
        if succeeded {
            return Ok(());
        }
        let command = format!("{command:?}");
        Err(Error::Failed { command, status: output.status.to_string(), output: said })
    }
}

impl Drop for Kdc {
    fn drop(&mut self) {
        self.process = None; // kills it
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Where a program is.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(MORE_FOLDERS.map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}
