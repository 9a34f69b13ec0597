//! Copies ACLs: a loop of its own beside that of topics, so that neither waits for the other.
//!
//! ```text
//! both asked ─▶ topology::plan_acls ─▶ stored ─▶ created, deleted ─▶ taken out of the store
//!      ▲                                                                   │
//!      └───────────── the interval, or another topic is copied ◀───────────┘
//! ```
//!
//! What is created is stored before it is, and what is deleted is taken out after it is: whatever is killed in between,
//! no ACL of ours is left that nobody follows. It may be created or deleted once more then, which does no harm.
//!
//! A DENY is created before the ALLOWs around it, and deleted after them, so that nobody is let in between; where it was
//! not created they are not either. Before anything is changed the store proves that the flow is still this process's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use client::{CallError, Class, Cluster, ErrorCode, Refusal, classify};
use model::{Acl, AclPermission, Acls, ResourcePattern, ResourceType, TopicName};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use topology::{AclPlan, AclRules, AclSight, AclTrouble, Grant, Naming, plan_acls};
use tracing::{debug, info, warn};

use crate::observe::{blocking, chain, on_its_own_thread};
use crate::options::INTERVAL_MIN;

/// What passes by itself, such as a broker that restarts, is tried again after this.
const AGAIN_AFTER: Duration = Duration::from_secs(30);

/// How ACLs are copied, and how often.
#[derive(Clone, Debug)]
pub struct AclOptions {
    /// Which.
    pub rules: AclRules,
    /// `sync.topic.acls.interval.seconds`.
    pub interval: Duration,
}

/// Why what a flow has created could not be read or remembered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// What failed, where and why: it may be done another time.
    #[error("{0}")]
    Failed(String),
    /// Another process has taken the flow over: this one changes nothing any more.
    #[error("{0}")]
    Taken(String),
    /// There is no room for that many entries of these patterns. Nothing was changed.
    #[error("too many ACLs of {} patterns", .0.len())]
    TooLarge(Vec<ResourcePattern>),
}

/// Where a flow remembers which ACLs it has created. The calls may block: they are made off the runtime, one at a time.
pub trait GrantStore: Send {
    /// What this flow has created at the destination, or was about to.
    ///
    /// # Errors
    /// What could not be read, where and why.
    fn load(&mut self) -> Result<Acls, GrantError>;

    /// Remembers of each pattern in `changes` these entries, and no others; an empty set is none. Durable when it returns.
    ///
    /// # Errors
    /// What could not be written, where and why; the old or the new is stored then.
    fn save(&mut self, changes: &Acls) -> Result<(), GrantError>;

    /// Makes sure that no other process has taken the flow over.
    ///
    /// # Errors
    /// [`GrantError::Taken`] if one has, or why that is not known.
    fn prove(&mut self) -> Result<(), GrantError>;

    /// What flows have created at this flow's source, or were about to, as of now: this one too, where source and
    /// destination are one cluster.
    ///
    /// # Errors
    /// What could not be read, where and why.
    fn copies_at_source(&mut self) -> Result<Acls, GrantError>;

    /// Whether its calls wait for others, such as a cluster that may not answer: each has a thread of its own then, and
    /// takes none from what computes.
    fn waits(&self) -> bool {
        false
    }
}

/// What is remembered of both clusters' ACLs, for a plan.
#[derive(Clone, Debug, Default)]
pub struct Granted {
    /// What this flow has created at the destination.
    pub here: Acls,
    /// What flows have created at this flow's source.
    pub at_source: Acls,
}

/// How the copy of ACLs fares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AclStatus {
    /// Rounds that came to an end, whatever it was.
    pub rounds: u64,
    /// Why ACLs were not copied in the last one, or not all of them.
    pub trouble: Option<AclTrouble>,
}

/// The topics that are copied, by their names at the source.
pub(crate) type Copied = Arc<BTreeMap<TopicName, TopicName>>;

/// The loop's own state.
pub(crate) struct AclJob {
    pub(crate) source: Cluster,
    pub(crate) destination: Cluster,
    pub(crate) naming: Naming,
    pub(crate) options: AclOptions,
    /// `None` before the first look at topics.
    pub(crate) copied: watch::Receiver<Option<Copied>>,
    pub(crate) status: watch::Sender<AclStatus>,
    /// Lent to a blocking thread while it works.
    pub(crate) store: Option<Box<dyn GrantStore>>,
    /// What the store holds, once it was read.
    pub(crate) granted: Option<Acls>,
}

/// What a round came to.
#[derive(Debug, Default)]
struct Done {
    granted: usize,
    revoked: usize,
    /// What the destination did not do, in its words: the first, and how many there are.
    refused: Option<(String, ErrorCode, usize)>,
    /// What there is no room for to remember.
    too_large: Vec<ResourcePattern>,
    /// ALLOWs that were not created because a DENY was not.
    waiting: usize,
}

/// Why a round came to nothing.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error("cannot {doing} at the {side}")]
    Call {
        side: &'static str,
        doing: &'static str,
        #[source]
        source: CallError,
    },
    #[error("cannot remember which were created: {0}")]
    Store(GrantError),
}

impl AclJob {
    /// Runs until it is dropped.
    pub(crate) async fn run(mut self) {
        loop {
            let copied = self.copied.borrow_and_update().clone();
            let Some(copied) = copied else {
                if self.copied.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let start = Instant::now();
            let outcome = self.round(copied).await;
            let is_taken = matches!(outcome, Err(RoundError::Store(GrantError::Taken(_))));
            let is_through = outcome.is_ok();
            let (trouble, passes) = match outcome {
                Ok(done) => (done.trouble(), done.passes()),
                Err(error) => (Some(error.trouble()), error.passes()),
            };
            let interval = self.options.interval;
            let next = start + if passes { AGAIN_AFTER.min(interval) } else { interval };
            let next = next.max(Instant::now() + INTERVAL_MIN);
            self.note(trouble);
            if is_taken {
                return;
            }
            // Who could not be asked is not asked again because of a topic.
            tokio::select! {
                () = sleep_until(next) => {}
                Ok(()) = self.copied.changed(), if is_through => {}
            }
        }
    }

    async fn round(&mut self, copied: Copied) -> Result<Done, RoundError> {
        let granted = match self.granted.take() {
            Some(granted) => granted,
            None => self.with_store(|store| store.load()).await?,
        };
        // Another flow stores before it creates, and takes out after it deletes: of what is seen in between, one of the
        // two looks knows.
        let before = self.with_store(|store| store.copies_at_source()).await;
        let seen = look(&self.source, &self.destination).await;
        let after = self.with_store(|store| store.copies_at_source()).await;
        let at_source = before.and_then(|before| Ok((before, after?)));
        let planned = match (seen, at_source) {
            (Ok((source, destination)), Ok((mut at_source, after))) => {
                merge(&mut at_source, after);
                let (rules, naming) = (self.options.rules.clone(), self.naming.clone());
                let known = Granted { here: granted.clone(), at_source };
                blocking(move || Ok(plan(&rules, &naming, (&source, &destination), &known, &copied))).await
            }
            (Err(error), _) | (_, Err(error)) => Err(error),
        };
        self.granted = Some(granted);
        let plan = planned?;
        for withheld in &plan.not_copied {
            debug!(acl = %withheld.acl, reason = %withheld.why, "ACL is not copied");
        }
        let done = self.carry_out(&plan).await?;
        if done.granted + done.revoked > 0 {
            let (granted, revoked, not_copied) = (done.granted, done.revoked, plan.not_copied.len());
            info!(cluster = %self.destination.name(), granted, revoked, not_copied, "ACLs copied");
        }
        Ok(done)
    }

    async fn carry_out(&mut self, plan: &AclPlan) -> Result<Done, RoundError> {
        let mut done = Done::default();
        if plan.grants.is_empty() && plan.revokes.is_empty() && plan.gone.is_empty() {
            return Ok(done);
        }
        self.with_store(|store| store.prove()).await?;
        let known = self.granted.clone().unwrap_or_default();
        let wanted: Vec<Acl> = plan.grants.iter().map(|grant| grant.acl.clone()).collect();
        done.too_large = self.remember(&wanted, &[]).await?;

        // What went wrong first; what does not depend on it is done all the same.
        let mut failed = None;
        let mut is_whole = |outcome: Result<bool, RoundError>| {
            outcome.unwrap_or_else(|error| {
                failed.get_or_insert(error);
                false
            })
        };
        let mut not_there = Vec::new();
        let is_deny = |acl: &Acl| acl.entry.permission == AclPermission::Deny;
        let (denies, allows): (Vec<&Grant>, Vec<&Grant>) =
            plan.grants.iter().partition(|grant| is_deny(&grant.acl));
        let room = |grant: &&Grant| !done.too_large.contains(&grant.acl.resource);
        let is_room_for_denies = denies.iter().all(room);
        let denies: Vec<&Grant> = denies.into_iter().filter(room).collect();
        let allows: Vec<&Grant> = allows.into_iter().filter(room).collect();
        let are_denied = is_whole(self.create(&denies, &known, &mut done, &mut not_there).await);
        let are_denied = are_denied && is_room_for_denies;
        if are_denied {
            is_whole(self.create(&allows, &known, &mut done, &mut not_there).await);
        } else {
            done.waiting = allows.len();
            let allows = allows.into_iter().map(|grant| &grant.acl);
            not_there.extend(allows.filter(|acl| !holds(&known, acl)).cloned());
        }
        let unwanted = plan.revokes.iter().map(|acl| (acl, true));
        let unwanted = unwanted.chain(plan.gone.iter().map(|acl| (acl, false)));
        let (denies, allows): (Vec<_>, Vec<_>) = unwanted.partition(|(acl, _)| is_deny(acl));
        let are_gone = is_whole(self.delete(&allows, &mut done, &mut not_there).await);
        if are_denied && are_gone {
            is_whole(self.delete(&denies, &mut done, &mut not_there).await);
        }
        let forgotten = self.remember(&[], &not_there).await;
        match failed {
            Some(error) => Err(error),
            None => forgotten.map(|_| done),
        }
    }

    /// Creates them, and notes which are not there for certain, unless they are `known` from before. Whether all are made.
    async fn create(
        &mut self,
        grants: &[&Grant],
        known: &Acls,
        done: &mut Done,
        not_there: &mut Vec<Acl>,
    ) -> Result<bool, RoundError> {
        if grants.is_empty() {
            return Ok(true);
        }
        let wanted: Vec<Acl> = grants.iter().map(|grant| grant.acl.clone()).collect();
        let call = |source| RoundError::Call { side: "destination", doing: "create ACLs", source };
        let answers = self.destination.create_acls(&wanted).await.map_err(call)?;
        let mut are_made = true;
        for (Grant { acl, origin }, answer) in grants.iter().zip(answers) {
            match answer {
                Ok(()) => {
                    done.granted += 1;
                    debug!(%acl, %origin, "ACL created");
                }
                Err(refusal) => {
                    are_made = false;
                    if is_not_done(&refusal) && !holds(known, acl) {
                        not_there.push(acl.clone());
                    }
                    done.note_refused(acl, &refusal);
                }
            }
        }
        Ok(are_made)
    }

    /// Deletes them, each with whether it was seen, and notes those that were. Whether all were.
    async fn delete(
        &mut self,
        unwanted: &[(&Acl, bool)],
        done: &mut Done,
        not_there: &mut Vec<Acl>,
    ) -> Result<bool, RoundError> {
        if unwanted.is_empty() {
            return Ok(true);
        }
        let acls: Vec<Acl> = unwanted.iter().map(|(acl, _)| (*acl).clone()).collect();
        let call = |source| RoundError::Call { side: "destination", doing: "delete ACLs", source };
        let answers = self.destination.delete_acls(&acls).await.map_err(call)?;
        let mut are_gone = true;
        for ((acl, is_seen), answer) in unwanted.iter().zip(answers) {
            match answer {
                Ok(()) => {
                    done.revoked += usize::from(*is_seen);
                    not_there.push((*acl).clone());
                    debug!(%acl, "ACL deleted");
                }
                Err(refusal) => {
                    are_gone = false;
                    done.note_refused(acl, &refusal);
                }
            }
        }
        Ok(are_gone)
    }

    /// Stores that `added` are ours, and `removed` are not. Gives the patterns that there is no room for: of them what was
    /// stored stays.
    async fn remember(&mut self, added: &[Acl], removed: &[Acl]) -> Result<Vec<ResourcePattern>, RoundError> {
        let mut granted = self.granted.clone().unwrap_or_default();
        let mut changes = changes(&granted, added, removed);
        let mut too_large = Vec::new();
        while !changes.is_empty() {
            let saved = changes.clone();
            match self.with_store(move |store| store.save(&saved)).await {
                Ok(()) => break,
                Err(RoundError::Store(GrantError::TooLarge(patterns)))
                    if patterns.iter().any(|pattern| changes.contains_key(pattern)) =>
                {
                    changes.retain(|pattern, _| !patterns.contains(pattern));
                    too_large.extend(patterns);
                }
                Err(error) => return Err(error),
            }
        }
        granted.extend(changes);
        granted.retain(|_, entries| !entries.is_empty());
        self.granted = Some(granted);
        Ok(too_large)
    }

    async fn with_store<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut dyn GrantStore) -> Result<T, GrantError> + Send + 'static,
    ) -> Result<T, RoundError> {
        let Some(mut store) = self.store.take() else {
            let what = String::from("an earlier call did not come to an end");
            return Err(RoundError::Store(GrantError::Failed(what)));
        };
        let waits = store.waits();
        let work = move || (work(&mut *store), store);
        let (result, store) = if waits { on_its_own_thread(work).await } else { blocking(work).await };
        self.store = Some(store);
        result.map_err(RoundError::Store)
    }

    /// Tells of what changed. The same advice is given once: which broker says so, and of which ACL first, may be another
    /// each time.
    fn note(&self, trouble: Option<AclTrouble>) {
        let before = self.status.borrow().trouble.clone();
        match &trouble {
            Some(trouble) if before.as_ref().is_none_or(|before| before.hint != trouble.hint) => {
                warn!(reason = trouble.what, hint = trouble.hint, "{}", trouble.headline());
            }
            None if before.is_some() => info!("ACLs are copied again"),
            _ => {}
        }
        self.status.send_modify(|status| {
            status.rounds += 1;
            status.trouble = trouble;
        });
    }
}

/// What would be done about ACLs, without doing it.
pub(crate) async fn plan_once(
    source: &Cluster,
    destination: &Cluster,
    (options, naming): (&AclOptions, &Naming),
    known: &Granted,
    copied: &BTreeMap<TopicName, TopicName>,
) -> AclPlan {
    match look(source, destination).await {
        Ok((at_source, there)) => plan(&options.rules, naming, (&at_source, &there), known, copied),
        Err(error) => AclPlan { trouble: Some(error.trouble()), ..AclPlan::default() },
    }
}

fn plan(
    rules: &AclRules,
    naming: &Naming,
    (source, destination): (&BTreeSet<Acl>, &BTreeSet<Acl>),
    known: &Granted,
    copied: &BTreeMap<TopicName, TopicName>,
) -> AclPlan {
    let copies_at_source = flat(&known.at_source);
    let (granted, copies_at_source) = (&known.here, &copies_at_source);
    plan_acls(rules, naming, &AclSight { source, copies_at_source, destination, granted, copied })
}

/// The ACLs of both clusters.
async fn look(source: &Cluster, destination: &Cluster) -> Result<(BTreeSet<Acl>, BTreeSet<Acl>), RoundError> {
    let (source, destination) =
        tokio::join!(described(source, "source"), described(destination, "destination"));
    // Where both fail it is always the same one that is told.
    Ok((source?, destination?))
}

async fn described(cluster: &Cluster, side: &'static str) -> Result<BTreeSet<Acl>, RoundError> {
    let call = |source| RoundError::Call { side, doing: "read the ACLs", source };
    let (topics, groups) = tokio::try_join!(
        cluster.describe_acls(ResourceType::Topic),
        cluster.describe_acls(ResourceType::Group)
    )
    .map_err(call)?;
    // There may be a hundred thousand.
    Ok(blocking(move || topics.into_iter().chain(groups).collect()).await)
}

/// The whole of each pattern that is not as `granted` has it any more.
fn changes(granted: &Acls, added: &[Acl], removed: &[Acl]) -> Acls {
    let mut changed = Acls::new();
    let before = |acl: &Acl| granted.get(&acl.resource).cloned().unwrap_or_default();
    for acl in added {
        changed.entry(acl.resource.clone()).or_insert_with(|| before(acl)).insert(acl.entry.clone());
    }
    for acl in removed {
        changed.entry(acl.resource.clone()).or_insert_with(|| before(acl)).remove(&acl.entry);
    }
    changed
        .retain(|resource, entries| granted.get(resource).map_or(!entries.is_empty(), |was| was != entries));
    changed
}

fn holds(acls: &Acls, acl: &Acl) -> bool {
    acls.get(&acl.resource).is_some_and(|entries| entries.contains(&acl.entry))
}

fn merge(acls: &mut Acls, more: Acls) {
    for (resource, entries) in more {
        acls.entry(resource).or_default().extend(entries);
    }
}

fn flat(acls: &Acls) -> BTreeSet<Acl> {
    let of = |(resource, entries): (&ResourcePattern, &BTreeSet<model::AccessControlEntry>)| {
        let resource = resource.clone();
        entries.clone().into_iter().map(move |entry| Acl { resource: resource.clone(), entry })
    };
    acls.iter().flat_map(of).collect()
}

/// Whether nothing was done for certain.
fn is_not_done(refusal: &Refusal) -> bool {
    !matches!(classify(refusal.error), Class::UnknownOutcome)
}

impl Done {
    fn note_refused(&mut self, acl: &Acl, refusal: &Refusal) {
        debug!(%acl, error = %refusal, "the destination refused to change an ACL");
        let first = || (format!("{acl}: {refusal}"), refusal.error, 0);
        self.refused.get_or_insert_with(first).2 += 1;
    }

    /// Whether what was refused may be taken without anybody doing anything.
    fn passes(&self) -> bool {
        let refused = self.refused.as_ref();
        refused.is_some_and(|(_, error, _)| matches!(classify(*error), Class::Retry | Class::RefreshAndRetry))
    }

    /// What is to be told of what was not done.
    fn trouble(&self) -> Option<AclTrouble> {
        let more = |more: usize| if more > 0 { format!(", and {more} more") } else { String::new() };
        let (what, hint) = match (&self.refused, &self.too_large[..]) {
            (Some((first, error, count)), _) => {
                let more = more(count - 1);
                let what = format!("the destination refused to change the ACL {first}{more}");
                (what, hint("destination", Some(*error)))
            }
            (None, [first, others @ ..]) => {
                let more = more(others.len());
                let what = format!("there are too many ACLs of {first} to remember which were created{more}");
                (what, "let fewer name it, such as one for all users in the place of many")
            }
            (None, []) => return None,
        };
        let waiting = match self.waiting {
            0 => String::new(),
            waiting => format!("; ALLOWs that wait for a DENY: {waiting}"),
        };
        Some(AclTrouble { what: format!("{what}{waiting}"), hint, is_partial: true })
    }
}

impl RoundError {
    /// Whether it is over without anybody doing anything.
    fn passes(&self) -> bool {
        match self {
            RoundError::Call { source: CallError::Unsupported { .. }, .. } => false,
            // A whole request that was refused is about rights; anything else is the network's.
            RoundError::Call { source, .. } => source.error_code().is_none(),
            RoundError::Store(GrantError::Taken(_)) => false,
            RoundError::Store(_) => true,
        }
    }

    fn trouble(&self) -> AclTrouble {
        let (side, code) = match self {
            RoundError::Call { side, source, .. } => (*side, source.error_code()),
            RoundError::Store(error) => {
                let hint = match error {
                    GrantError::Taken(_) => "stop one of the two; the other one copies ACLs now",
                    _ => "mend the place of progress, or restart the worker; it is tried again by itself",
                };
                return AclTrouble { what: chain(self), hint, is_partial: false };
            }
        };
        let hint = match self {
            RoundError::Call { source: CallError::Unsupported { .. }, .. } => {
                "set sync.topic.acls.enabled=false, or copy between newer brokers"
            }
            _ => hint(side, code),
        };
        AclTrouble { what: chain(self), hint, is_partial: false }
    }
}

/// What to do about an error code about ACLs.
fn hint(side: &str, error: Option<ErrorCode>) -> &'static str {
    match (side, error) {
        ("source", Some(ErrorCode::SECURITY_DISABLED)) => {
            "the source has no ACLs: set sync.topic.acls.enabled=false, or give its brokers an authorizer"
        }
        (_, Some(ErrorCode::SECURITY_DISABLED)) => {
            "the destination takes no ACLs: set sync.topic.acls.enabled=false, or give its brokers an authorizer"
        }
        ("source", Some(ErrorCode::CLUSTER_AUTHORIZATION_FAILED)) => {
            "give the source's user DESCRIBE on the cluster"
        }
        (_, Some(ErrorCode::CLUSTER_AUTHORIZATION_FAILED)) => {
            "give the destination's user ALTER on the cluster, which includes DESCRIBE"
        }
        (_, Some(_)) => "it is tried again every sync.topic.acls.interval.seconds",
        (_, None) => "it is tried again by itself",
    }
}

#[cfg(test)]
mod tests {
    use model::{AccessControlEntry, AclOperation, AclPermission, ResourcePattern};

    use super::*;

    fn acl(topic: &str, user: &str) -> Acl {
        let entry = AccessControlEntry {
            principal: format!("User:{user}"),
            host: "*".to_owned(),
            operation: AclOperation::READ,
            permission: AclPermission::Allow,
        };
        Acl { resource: ResourcePattern::literal(ResourceType::Topic, topic), entry }
    }

    #[test]
    fn only_patterns_that_change_are_stored_and_each_as_a_whole() {
        let nothing = Acls::new();
        let granted = changes(&nothing, &[acl("a", "ann"), acl("a", "bob"), acl("b", "ann")], &[]);
        assert_eq!((granted.len(), flat(&granted).len()), (2, 3));
        assert_eq!(changes(&granted, &[acl("a", "ann")], &[]), nothing, "it is known");
        assert_eq!(changes(&nothing, &[], &[acl("a", "ann")]), nothing, "it is not");
        let fewer = changes(&granted, &[], &[acl("a", "ann"), acl("b", "ann")]);
        assert_eq!(flat(&fewer), [acl("a", "bob")].into());
        assert_eq!(fewer[&acl("b", "").resource], BTreeSet::new(), "none is left of it");
    }

    #[test]
    fn what_was_refused_is_told_once_with_the_first_of_it() {
        let mut done = Done::default();
        assert_eq!(done.trouble(), None);
        let refusal = Refusal { error: ErrorCode::CLUSTER_AUTHORIZATION_FAILED, message: None };
        done.note_refused(&acl("a", "ann"), &refusal);
        done.note_refused(&acl("b", "ann"), &refusal);
        let AclTrouble { what, hint, .. } = done.trouble().expect("some were refused");
        assert_eq!(
            what,
            "the destination refused to change the ACL User:ann READ on topic `a`: CLUSTER_AUTHORIZATION_FAILED (31), and 1 more"
        );
        assert_eq!(hint, "give the destination's user ALTER on the cluster, which includes DESCRIBE");
    }
}
