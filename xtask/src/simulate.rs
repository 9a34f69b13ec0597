//! `cargo xtask simulate`: the data plane's simulation over many seeds, and whether it would notice mistakes.
//!
//! A simulation that catches nothing proves nothing. So the engine is made wrong on purpose, one mistake at a
//! time, in a copy of the workspace, and each must be caught by some seed.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::Instant,
};

use anyhow::{Context, bail, ensure};

use crate::test::cargo;

/// Seeds that a mistake is given to show itself in: the rarest need a few faults in just one order.
const SEEDS_PER_MUTATION: u64 = 300_000;

/// A mistake: in `file` of `crates/pipeline/src`, `from` becomes `to`.
struct Mutation {
    what: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
}

const fn mutation(what: &'static str, file: &'static str, from: &'static str, to: &'static str) -> Mutation {
    Mutation { what, file, from, to }
}

const MUTATIONS: [Mutation; 71] = [
    mutation(
        "where others write, counts are believed without a look at the tail",
        "engine/opening.rs",
        "&& (self.options.existing_records == ExistingRecords::Append\n                        || is_shared(&lane.acked)) =>",
        "&& false =>",
    ),
    mutation(
        "a memory that stays ahead of an empty log is waited for without end",
        "engine/opening.rs",
        "&& (is_known || asked_at >= lane.doubt_at + self.options.replica_lag_max)",
        "&& false",
    ),
    mutation(
        "a follower that lags is waited for as long as it may lag, not until somebody notices",
        "options.rs",
        "replica_lag_max: Duration::from_secs(50)",
        "replica_lag_max: Duration::from_secs(35)",
    ),
    mutation(
        "what a look shows is taken for as young as its answer",
        "engine/opening.rs",
        "let asked_at = lane.asked_at;",
        "let asked_at = self.now.instant;",
    ),
    mutation(
        "a leader that shows less than was acknowledged is believed",
        "engine/opening.rs",
        "if evidence.latest < lane.acknowledged_end {",
        "if false {",
    ),
    mutation(
        "a leader that remembers the sequence of before a new beginning is not followed",
        "engine/writing.rs",
        "lane.resume_sequence = lane.acked.sequence == 0 && lane.acked.sequence_base > 0;",
        "",
    ),
    mutation(
        "what was sent before a compacted source was cleaned is not waited for",
        "lane/sending.rs",
        "aged || self.may_be_others()",
        "aged",
    ),
    mutation(
        "a batch that was read in part is not known again by its leader epoch",
        "lane/reading.rs",
        "self.check_read_before(&entry)?;",
        "",
    ),
    mutation(
        "what is read again and was appended later is known by its bytes alone",
        "lane/reading.rs",
        "if found > expected || is_partly_read && found != expected {",
        "if is_partly_read && found != expected {",
    ),
    mutation(
        "what is left of a batch is given the leader epoch of what was read past behind it",
        "lane/reading.rs",
        "leader_epoch: held.sent_epoch,",
        "leader_epoch: held.leader_epoch,",
    ),
    mutation(
        "an answer that begins behind the position is taken",
        "engine/reading.rs",
        "if *asked > lane.fetch_offset() {",
        "if *asked > lane.fetch_offset() && false {",
    ),
    mutation(
        "an unknown outcome is not waited for where nobody remembers us",
        "place.rs",
        "if unsettled && !matches!(evidence.producer, ProducerEvidence::Last(_)) {",
        "if false && unsettled {",
    ),
    mutation(
        "a position one record too far",
        "place.rs",
        "let ours = sequence_distance(position.sequence, sequence_after(last, 1));",
        "let ours = sequence_distance(position.sequence, sequence_after(last, 2));",
    ),
    mutation(
        "sequences do not wrap where Kafka's do",
        "place.rs",
        "let next = (i64::from(sequence) + count).rem_euclid(1 << 31);",
        "let next = (i64::from(sequence) + count).rem_euclid((1 << 31) - 1);",
    ),
    mutation(
        "a hole at the destination is taken for a wrong memory of its end",
        "place.rs",
        "if ours > appended {\n        return look_again_or_hole(position, evidence, ours);\n    }",
        "",
    ),
    mutation(
        "stepping back forgets the records that a run with holes still has",
        "lane/mod.rs",
        "self.acked.sequence = sequence_after(self.acked.sequence, -(steps + to.kept));",
        "self.acked.sequence = sequence_after(self.acked.sequence, -steps);",
    ),
    mutation(
        "several batches leave before the first is acknowledged (one_in_flight_until_seen)",
        "lane/sending.rs",
        "State::Probing => true,",
        "State::Probing => false,",
    ),
    mutation(
        "aged records leave several at a time (aged_is_one_in_flight)",
        "lane/sending.rs",
        "State::Flowing => aged || self.acked_aged || self.in_flight.back().is_some_and(|sent| sent.aged),",
        "State::Flowing => false,",
    ),
    mutation(
        "of merged batches the first says how far the source is done",
        "lane/sending.rs",
        "last = Some(held.mark);",
        "last = last.or(Some(held.mark));",
    ),
    mutation(
        "an answer to an earlier question is taken for another log",
        "lane/reading.rs",
        "if entry.last_offset() < fingerprint.base_offset {",
        "if false {",
    ),
    mutation(
        "a source that was cut is followed although nobody knows where",
        "engine/living.rs",
        "evidence.epoch_end.filter(|(epoch, cut)| *epoch == copied && *cut < position)",
        "evidence.epoch_end.filter(|(_, cut)| *cut < position)",
    ),
    mutation(
        "a source that was cut is asked for what follows without the epoch of what was copied",
        "lane/moving.rs",
        "LifeEvent::SourceTruncated { epoch, .. } => epoch,\n            _ => LeaderEpoch::UNKNOWN,",
        "_ => LeaderEpoch::UNKNOWN,",
    ),
    mutation(
        "half a walk of a share is stored",
        "lane/mod.rs",
        "self.walk_crossed_epochs || self.share.is_some()",
        "self.walk_crossed_epochs",
    ),
    mutation(
        "as many records behind a share's position as are its own are taken for its own",
        "lane/mod.rs",
        "foreign == 0 && walk_end.is_none_or(|end| end == exact_end)",
        "foreign == 0",
    ),
    mutation(
        "all shares that come to one partition are written under one producer id",
        "engine/mod.rs",
        "share.map_or(Some(producer.producer_id), |share| producer.spread_id(share.source))?",
        "share.map_or(Some(producer.producer_id), |_| Some(producer.producer_id))?",
    ),
    mutation(
        "a share begins where its source does when it comes to that",
        "engine/spreading.rs",
        "        spreading.known.begin\n    }",
        "        start\n    }",
    ),
    mutation(
        "others have appended behind a share that has something under way",
        "lane/mod.rs",
        "&& !self.may_have_sent\n            && self.is_settled(now);",
        ";",
    ),
    mutation(
        "several batches follow an aged one at once",
        "lane/sending.rs",
        "aged || self.acked_aged ||",
        "aged ||",
    ),
    mutation(
        "aged records do not wait for what may still arrive",
        "lane/sending.rs",
        "late.max(lags).filter(|until| self.placed_at < *until)",
        "late.max(lags).filter(|_| false)",
    ),
    mutation(
        "what may still arrive is forgotten at the next look",
        "lane/mod.rs",
        "self.quiet_until = Some(self.settles_at(late_for));",
        "self.quiet_until = Some(self.doubt_at);",
    ),
    mutation(
        "a base offset is not compared",
        "engine/writing.rs",
        "if !is_expected {",
        "if false && !is_expected {",
    ),
    mutation(
        "a time-out counts as not appended",
        "engine/writing.rs",
        "Class::Retry | Class::UnknownOutcome => {\n                doubt(Some(Trouble::Passing(Side::Destination, \"Produce\", error)), true)",
        "Class::Retry | Class::UnknownOutcome => {\n                doubt(Some(Trouble::Passing(Side::Destination, \"Produce\", error)), false)",
    ),
    mutation(
        "a lost connection counts as not appended",
        "engine/writing.rs",
        "self.doubt(id, trouble.clone(), maybe_written);",
        "self.doubt(id, trouble.clone(), false);",
    ),
    mutation(
        "a leader that ceased to be one counts as not having appended",
        "engine/writing.rs",
        "let appended = produced.base_offset.is_some_and(|base| base.0 >= 0);",
        "let appended = false;",
    ),
    mutation(
        "lanes of a broken connection are forgotten",
        "engine/writing.rs",
        "for id in self.sendable.remove(&broker).unwrap_or_default() {",
        "for id in Vec::<LaneId>::new() {",
    ),
    mutation(
        "a new connection needs no new look",
        "engine/writing.rs",
        "if looked_at_connection != connection ||",
        "if",
    ),
    mutation(
        "a lane that was idle for long sends as if nothing had happened",
        "engine/writing.rs",
        "|| stale ||",
        "||",
    ),
    mutation(
        "a process that stood still sends as if nothing had happened",
        "engine/writing.rs",
        "|| lane.asked_at < self.returned_at {",
        "{",
    ),
    mutation(
        "a lane opens while something of it is under way",
        "engine/opening.rs",
        "self.lanes.get(&id).filter(|lane| lane.in_flight.is_empty()) else { return };",
        "self.lanes.get(&id) else { return };",
    ),
    mutation(
        "a lane's beginning is not stored before it sends",
        "engine/finding.rs",
        "lane.reopen(State::Opening(Opening::Saving));\n        self.save_now = true;",
        "lane.fresh = false;\n        lane.reopen(State::Opening(Opening::Ready));\n        self.to_step.insert(id);",
    ),
    mutation(
        "the producer id is used before it is stored",
        "engine/opening.rs",
        "self.identity = Identity::Unsaved(producer);",
        "self.identity = Identity::Ready(producer);\n                self.step_all();",
    ),
    mutation(
        "an earlier process that died is taken for one that stopped cleanly",
        "engine/routing.rs",
        "lane.unsettled = (!self.started_clean || self.left_unsettled) && begun;",
        "lane.unsettled = false;",
    ),
    mutation(
        "a stop is called clean while something may still arrive",
        "engine/commit.rs",
        "if drained && !self.clean_end_saved && self.is_settled() => {",
        "if drained && !self.clean_end_saved => {",
    ),
    mutation(
        "a position is stored that a walk has not proven",
        "engine/commit.rs",
        "StoredLane::Ours(lane.checkpoint().clone()));",
        "StoredLane::Ours(lane.acked.clone()));",
    ),
    mutation(
        "what is held survives a new opening",
        "lane/mod.rs",
        "self.held_bytes -= self.queue.iter().map(Item::bytes).sum::<usize>();\n        self.queue.clear();",
        "",
    ),
    mutation(
        "an old answer moves the position",
        "engine/writing.rs",
        "if !current && !draining {",
        "if false && !draining {",
    ),
    mutation(
        "the batch that holds the position is thrown away whole",
        "lane/reading.rs",
        "if entry.last_offset() < self.read_from {\n            return Ok(None);",
        "if entry.base_offset() < self.read_from {\n            return Ok(None);",
    ),
    mutation(
        "a walk ends one record early",
        "lane/reading.rs",
        "from = offset_after(&entry, from, self.to_skip, part)",
        "from = offset_after(&entry, from, self.to_skip - 1, part)",
    ),
    mutation(
        "what is not sent is not checked for damage",
        "lane/reading.rs",
        "entry.verify_crc().map_err(|error| self.unreadable(&error))?;\n        }\n        if entry.last_offset() < self.read_from {",
        "}\n        if entry.last_offset() < self.read_from {",
    ),
    mutation(
        "a compacted source is counted",
        "engine/opening.rs",
        "let is_counted = !lane.route.rule.source_compacted && !lane.is_overtaken();",
        "let is_counted = !lane.is_overtaken();",
    ),
    mutation(
        "a source whose first records are deleted is counted",
        "engine/opening.rs",
        "let is_counted = !lane.route.rule.source_compacted && !lane.is_overtaken();",
        "let is_counted = !lane.route.rule.source_compacted;",
    ),
    mutation(
        "what the source deleted counts as not copied before the destination was asked",
        "engine/living.rs",
        "if position < evidence.log_start && lane.fresh {",
        "if position < evidence.log_start {",
    ),
    mutation(
        "a lane waits in the list of a leader that has moved",
        "engine/reading.rs",
        "if lane.queued_for == Some(leader.broker) || !lane.may_send(&rules) {",
        "if lane.queued_for.is_some() || !lane.may_send(&rules) {",
    ),
    mutation(
        "a partition that a fetch session leaves out is not taken for one at its end",
        "engine/reading.rs",
        "None => self.nothing_new(*key, reply.bytes == 0),",
        "None => {}",
    ),
    mutation(
        "a walk across a change of the source's leader is believed",
        "lane/reading.rs",
        "leader_epoch == LeaderEpoch::UNKNOWN || leader_epoch != self.walk_epoch;",
        "false;",
    ),
    mutation(
        "the source's last batch is not compared",
        "lane/reading.rs",
        "let Some(fingerprint) = self.verify else { return Ok(()) };",
        "let Some(fingerprint) = self.verify.filter(|_| false) else { return Ok(()) };",
    ),
    mutation(
        "skipped batches keep the leader epoch of the last one sent",
        "lane/reading.rs",
        "self.read_from = mark.next_source;\n        self.read_epoch = mark.leader_epoch;",
        "self.read_from = mark.next_source;\n        if mark.fingerprint.is_none() { self.read_epoch = mark.leader_epoch; }",
    ),
    mutation(
        "a process writes after its lease (no_send_after_lease)",
        "engine/mod.rs",
        "self.lease_lost |= self.lease.is_some_and(|until| until <= now.instant);",
        "self.lease = None;",
    ),
    mutation(
        "a lane moves while something sent before may still arrive",
        "engine/living.rs",
        "if self.waits_until_quiet(id) {",
        "if false {",
    ),
    mutation(
        "a lane sends from where it moved to before that is stored",
        "engine/living.rs",
        "lane.move_to(to, records, latest, selection);\n        self.store_beginning(id);",
        "lane.move_to(to, records, latest, selection);\n        lane.reopen(State::Opening(Opening::Ready));\n        self.to_step.insert(id);",
    ),
    mutation(
        "a topic created anew is read and written before routes are about it",
        "engine/opening.rs",
        "find(|side| self.is_replaced(lane, *side));",
        "find(|_| false);",
    ),
    mutation(
        "a topic created anew is gone on with where it was read and written",
        "engine/mod.rs",
        "if other_topic.is_some_and(|(present, routed)| present != routed) && lane.is_reading() {",
        "if false {",
    ),
    mutation(
        "what came behind the stored position has no sequence once its topic is gone",
        "lane/moving.rs",
        "acked.sequence = sequence_after(acked.sequence, records);",
        "acked.sequence = sequence_after(acked.sequence, 0 * records);",
    ),
    mutation(
        "what came behind the stored position is of the former topic, whatever the new one has",
        "engine/living.rs",
        "if records == 0 || lane.shown == Some((last, true)) {",
        "if records >= 0 {",
    ),
    mutation(
        "a destination topic created anew is begun although it holds records",
        "life.rs",
        "LifeEvent::DestinationRecreated { records } if records > 0 =>",
        "LifeEvent::DestinationRecreated { records } if records > i64::MAX - 1 =>",
    ),
    mutation(
        "offsets of a former topic are gone back to",
        "lane/moving.rs",
        "LifeEvent::SourceRecreated | LifeEvent::SourceTruncated { .. } => acked.segments.clear(),",
        "LifeEvent::SourceRecreated | LifeEvent::SourceTruncated { .. } => {}",
    ),
    mutation(
        "damage on the way is taken for another log",
        "lane/reading.rs",
        "// Damage on the way is no other log.\n        entry.verify_crc().map_err(|error| self.unreadable(&error))?;",
        "",
    ),
    mutation(
        "records of aborted transactions are copied under read_committed",
        "lane/reading.rs",
        "(Entry::Batch(batch), Isolation::ReadCommitted) => aborted.observe(batch),",
        "(Entry::Batch(_), Isolation::ReadCommitted) => false,",
    ),
    mutation(
        "a broker that hangs is waited for, although others lead",
        "engine/silence.rs",
        "if self.now.instant >= request.sent_at + SILENT {",
        "if false {",
    ),
    mutation(
        "who has not heard of a new leader brings the former one back",
        "engine/silence.rs",
        "one.epoch != LeaderEpoch::UNKNOWN && one.topic_id",
        "one.epoch == LeaderEpoch(-2) && one.topic_id",
    ),
    mutation(
        "a lane that looks elsewhere still waits for its turn at who led before",
        "engine/opening.rs",
        "self.look_destination.values_mut().for_each(|waiting| _ = waiting.remove(&id));",
        "",
    ),
];

/// `arguments`: `--seeds N`, `--first N`, or `--mutations` and the words of those that are meant, if not all.
pub(crate) fn run(arguments: &[&str]) -> anyhow::Result<ExitCode> {
    let (mut seeds, mut first) = (100_000, 1);
    let mut rest = arguments.iter();
    while let Some(word) = rest.next() {
        let mut number = || -> anyhow::Result<u64> {
            let text = rest.next().with_context(|| format!("{word} needs a number"))?;
            text.parse().with_context(|| format!("`{text}` is not a number"))
        };
        match *word {
            "--seeds" => seeds = number()?,
            "--first" => first = number()?,
            "--mutations" => return mutate(rest.as_slice()),
            other => bail!("unknown option `{other}`; see cargo xtask"),
        }
    }
    let started = Instant::now();
    let status = simulation(&crate::root(), None, first, seeds).status().context("cannot run cargo")?;
    println!("seeds {first} to {}: {:.0} s", first + seeds - 1, started.elapsed().as_secs_f64());
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn simulation(root: &Path, target: Option<&Path>, first: u64, seeds: u64) -> Command {
    let test = "sim::every_record_arrives_once_and_in_order_whatever_fails";
    let mut command = tests_of_pipeline(root, target, &["--exact", test, "--nocapture"]);
    command.env("PARALOG_SIM_FIRST", first.to_string()).env("PARALOG_SIM_SEEDS", seeds.to_string());
    command
}

/// The tests of the pipeline that `which` says.
fn tests_of_pipeline(root: &Path, target: Option<&Path>, which: &[&str]) -> Command {
    let profile: &[&str] = if target.is_some() { &[] } else { &["--release"] };
    let words = ["test", "--quiet", "--package", "pipeline", "--lib"];
    let mut command = cargo(&[&words[..], profile, &["--"], which].concat());
    command.current_dir(root).env("RUST_BACKTRACE", "0");
    if let Some(target) = target {
        // Nearly as quick as a release, and built in a third of its time.
        command.env("CARGO_TARGET_DIR", target).env("CARGO_PROFILE_DEV_OPT_LEVEL", "3");
    }
    command
}

/// Tries the mistakes whose text has one of `words`, or all without any.
fn mutate(words: &[&str]) -> anyhow::Result<ExitCode> {
    let unique: BTreeSet<&str> = MUTATIONS.iter().map(|mutation| mutation.what).collect();
    ensure!(unique.len() == MUTATIONS.len(), "a mistake is listed twice");
    let is_meant =
        |mutation: &&Mutation| words.is_empty() || words.iter().any(|word| mutation.what.contains(word));
    let meant: Vec<&Mutation> = MUTATIONS.iter().filter(is_meant).collect();
    ensure!(!meant.is_empty(), "no mistake is called so; see MUTATIONS in xtask/src/simulate.rs");
    let folder = crate::root().join("target/mutations");
    let (tree, target) = (folder.join("tree"), folder.join("target"));
    if tree.exists() {
        fs::remove_dir_all(&tree).with_context(|| format!("cannot remove {}", tree.display()))?;
    }
    copy_workspace(&tree)?;
    for mutation in &meant {
        find(mutation, &tree)?;
    }
    let mut survivors = Vec::new();
    let mut catching = BTreeSet::new();
    for mutation in &meant {
        let (file, right) = find(mutation, &tree)?;
        fs::write(&file, right.replace(mutation.from, mutation.to))?;
        let outcome = try_mutation(&tree, &target);
        fs::write(&file, right)?;
        match outcome.with_context(|| format!("`{}`", mutation.what))? {
            Some(Caught::BySeeds(seeds)) => {
                println!("caught  {:<88} {seeds:?}", mutation.what);
                catching.extend(seeds);
            }
            Some(Caught::ByTest(test)) => println!("caught  {:<88} {test}", mutation.what),
            None => {
                println!("MISSED  {}", mutation.what);
                survivors.push(mutation.what);
            }
        }
    }
    for seed in catching {
        ensure!(
            simulation(&tree, Some(&target), seed, 1).stderr(Stdio::null()).status()?.success(),
            "seed {seed} fails without any mistake, and was taken for one that catches some"
        );
    }
    println!("{} of {} mistakes caught", meant.len() - survivors.len(), meant.len());
    Ok(if survivors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The file that a mistake is made in, and what is in it now.
fn find(mutation: &Mutation, tree: &Path) -> anyhow::Result<(PathBuf, String)> {
    let file = tree.join("crates/pipeline/src").join(mutation.file);
    let right = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    ensure!(
        right.matches(mutation.from).count() == 1,
        "`{}`: its place is not there, or not there once, in {}",
        mutation.what,
        mutation.file
    );
    Ok((file, right))
}

/// What notices a mistake.
enum Caught {
    BySeeds(Vec<u64>),
    /// One of the crate's other tests, by its name.
    ByTest(String),
}

/// What notices the mistake in the tree, if anything does. Other tests are asked first: they are quick, and some know of
/// what the simulation does not draw.
fn try_mutation(tree: &Path, target: &Path) -> anyhow::Result<Option<Caught>> {
    let output = tests_of_pipeline(tree, Some(target), &["--skip", "sim::"]).output()?;
    if !output.status.success() {
        let (told, errors) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let list = told.rsplit("failures:").next().unwrap_or_default();
        let failed = list.lines().find_map(|line| line.strip_prefix("    "));
        let failed = failed.with_context(|| format!("it does not compile, or ends otherwise:\n{errors}"))?;
        return Ok(Some(Caught::ByTest(failed.to_owned())));
    }
    let mut simulation = simulation(tree, Some(target), 1, SEEDS_PER_MUTATION);
    let output = simulation.env("PARALOG_SIM_FAILURES_MAX", "1").output()?;
    if output.status.success() {
        return Ok(None);
    }
    let told =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let line = told.lines().find(|line| line.starts_with("seeds ["));
    let line = line.with_context(|| format!("it does not compile, or ends otherwise:\n{told}"))?;
    let seeds = line.trim_start_matches("seeds [").split(']').next().unwrap_or_default();
    let seeds: Result<Vec<u64>, _> = seeds.split(", ").map(str::parse).collect();
    Ok(Some(Caught::BySeeds(seeds.with_context(|| format!("no seeds in `{line}`"))?)))
}

/// What the pipeline's tests are built from.
fn copy_workspace(to: &Path) -> anyhow::Result<()> {
    let root = crate::root();
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(&root).output()?;
    ensure!(listed.status.success(), "git cannot list the workspace's files");
    let listed = String::from_utf8(listed.stdout).context("a file's name is not UTF-8")?;
    for name in listed.split('\0').filter(|name| !name.is_empty()) {
        let (from, to) = (root.join(name), to.join(name));
        if !from.is_file() {
            continue;
        }
        fs::create_dir_all(to.parent().unwrap_or(&to))?;
        fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    Ok(())
}
