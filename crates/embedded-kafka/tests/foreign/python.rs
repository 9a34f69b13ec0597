//! confluent-kafka and kafka-python: scripts beside this file, in an environment that the first test makes.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use embedded_kafka::Profile;

use crate::command::{run, succeed};
use crate::served::{PROFILES, Served};

/// A new number makes a new environment.
const PACKAGES: [&str; 2] = ["confluent-kafka==2.16.1", "kafka-python[crc32c,lz4,snappy,zstd]==3.0.12"];
const SCENARIO_WITHIN: Duration = Duration::from_secs(60);
const INSTALL_WITHIN: Duration = Duration::from_secs(300);

/// The interpreter of the environment with both packages, which is made where there is none yet.
fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("foreign-python");
        std::fs::create_dir_all(&folder).unwrap();
        // Until this function is done: another process with the same folder waits.
        let lock = File::create(folder.join("lock")).unwrap();
        lock.lock().unwrap();
        let (home, complete) = (folder.join("venv"), folder.join("complete"));
        let python = home.join("bin/python");
        if std::fs::read_to_string(&complete).ok().as_deref() != Some(&PACKAGES.join(" ")) {
            let mut create = Command::new("python3");
            create.args(["-m", "venv", "--clear"]).arg(&home);
            let said = run(create, "", INSTALL_WITHIN);
            assert!(
                said.success,
                "cannot make an environment: install python3 and python3-venv\n{}",
                said.errors
            );
            let mut install = Command::new(&python);
            install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(PACKAGES);
            let said = run(install, "", INSTALL_WITHIN);
            assert!(said.success, "cannot install {PACKAGES:?}: pip needs its index\n{}", said.errors);
            std::fs::write(&complete, PACKAGES.join(" ")).unwrap();
        }
        python
    })
}

/// Runs a scenario of a script against a fresh cluster of each profile.
fn check(script: &str, scenario: &str, profiles: &[(Profile, &str)]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign").join(script);
    for (profile, version) in profiles {
        let served = Served::start(*profile);
        let mut command = Command::new(python());
        command.arg("-B").arg(&script).args([scenario, &served.bootstrap(), version]);
        succeed(command, "", SCENARIO_WITHIN);
    }
}

/// The same scenarios of each script, which is named as its module is.
macro_rules! scenarios_of {
    ($($library:ident)*) => {$(
        mod $library {
            use super::{PROFILES, check};

            const SCRIPT: &str = concat!(stringify!($library), ".py");

            #[test]
            fn produces_with_each_codec_and_consumes_the_same() {
                check(SCRIPT, "codecs", &PROFILES);
            }

            #[test]
            fn commits_and_aborts_transactions() {
                check(SCRIPT, "transactions", &PROFILES);
            }

            #[test]
            fn members_join_share_leave_and_go_on_from_what_was_committed() {
                check(SCRIPT, "groups", &PROFILES);
            }

            #[test]
            fn administers_groups() {
                check(SCRIPT, "administer_groups", &PROFILES);
            }

            /// 1.1 is not asked: see what is known to differ, in the crate's documentation.
            #[test]
            fn creates_lists_and_deletes_access_rules() {
                check(SCRIPT, "access", &PROFILES[1..]);
            }

            #[test]
            fn administers_topics() {
                check(SCRIPT, "administer", &PROFILES);
            }
        }
    )*};
}

scenarios_of! { librdkafka kafka_python }
