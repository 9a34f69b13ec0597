//! Kafka's own command line tools, each a JVM of its own.

use crate::{Deadline, Distribution, Error, process};
use std::{
    io::{Read, Write},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

impl Distribution {
    /// Kafka's console producer: each line of `lines` becomes a record's value.
    ///
    /// # Errors
    /// [`Error::Failed`] with what it said.
    pub fn console_producer(&self, bootstrap: &str, topic: &str, lines: &str) -> Result<(), Error> {
        let main = if self.version().is_at_least(4, 0) {
            "org.apache.kafka.tools.ConsoleProducer"
        } else {
            "kafka.tools.ConsoleProducer"
        };
        let servers = if self.version().is_at_least(2, 5) { "--bootstrap-server" } else { "--broker-list" };
        let mut command = self.java(main, 128);
        command.args([servers, bootstrap, "--topic", topic]);
        run_tool(command, lines, Duration::from_secs(120)).map(drop)
    }

    /// Kafka's console consumer: the values of the first `count` records from the beginning, a line each, as
    /// it prints them. `properties` are its formatter's, such as `print.key=true`.
    ///
    /// # Errors
    /// [`Error::Failed`] with what it said, also if no record comes for 30 s.
    pub fn console_consumer(
        &self,
        bootstrap: &str,
        topic: &str,
        count: u64,
        properties: &[&str],
    ) -> Result<Vec<String>, Error> {
        let main = if self.version().is_at_least(3, 8) {
            "org.apache.kafka.tools.consumer.ConsoleConsumer"
        } else {
            "kafka.tools.ConsoleConsumer"
        };
        // In 4.x what is logged would go where the records go.
        let mut command = self.java_with(main, 128, &["-Dlog4j2.level=OFF".to_owned()]);
        command.args(["--bootstrap-server", bootstrap, "--topic", topic, "--from-beginning"]);
        command.args(["--max-messages", &count.to_string(), "--timeout-ms", "30000"]);
        for property in properties {
            command.args(["--property", property]);
        }
        let output = run_tool(command, "", Duration::from_secs(120))?;
        Ok(output.lines().map(str::to_owned).collect())
    }
}

/// Runs a tool to its end, feeding it `input`; gives its standard output.
fn run_tool(command: Command, input: &str, within: Duration) -> Result<String, Error> {
    let line = format!("{:?}", command.get_args().collect::<Vec<_>>());
    let mut command = process::bound_to_us(command);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = process::spawn(command).map_err(process::missing)?;
    let mut stdin = child.stdin.take().expect("it was asked for");
    let mut stdout = child.stdout.take().expect("it was asked for");
    let mut stderr = child.stderr.take().expect("it was asked for");
    thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input.as_bytes())); // dropped at its end: the tool sees the end too
        let output = scope.spawn(move || {
            let mut bytes = Vec::new();
            let _ = stdout.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        let errors = scope.spawn(move || {
            let mut bytes = Vec::new();
            let _ = stderr.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        let deadline = Deadline::within(within);
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status.success().then_some(()).ok_or_else(|| status.to_string()),
                Ok(None) if deadline.left().is_zero() => {
                    let _ = child.kill();
                    let _ = child.wait();
                    break Err(format!("no end after {} s", within.as_secs()));
                }
                Ok(None) => thread::sleep(Duration::from_millis(10)),
                Err(error) => break Err(error.to_string()),
            }
        };
        let output = output.join().unwrap_or_default();
        let errors = errors.join().unwrap_or_default();
        match status {
            Ok(()) => Ok(output),
            Err(status) => Err(Error::Failed { command: line, status, output: errors }),
        }
    })
}
