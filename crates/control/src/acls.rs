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

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use client::{CallError, Class, Cluster, ErrorCode, Refusal, classify};
use model::{Acl, Acls, ResourceType, TopicName};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use topology::{AclPlan, AclRules, AclSight, AclTrouble, Grant, Naming, plan_acls};
use tracing::{debug, info, warn};

use crate::observe::{blocking, chain};
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

/// Where a flow remembers which ACLs it has created. The calls may block: they are made off the runtime, one at a time.
pub trait GrantStore: Send {
    /// What this flow has created at the destination, or was about to.
    ///
    /// # Errors
    /// What could not be read, where and why.
    fn load(&mut self) -> Result<Acls, String>;

    /// Remembers of each pattern in `changes` these entries, and no others; an empty set is none. Durable when it returns.
    ///
    /// # Errors
    /// What could not be written, where and why; the old or the new is stored then.
    fn save(&mut self, changes: &Acls) -> Result<(), String>;

    /// What flows have created at this flow's source, or were about to, as of now: this one too, where source and
    /// destination are one cluster.
    ///
    /// # Errors
    /// What could not be read, where and why.
    fn copies_at_source(&mut self) -> Result<Acls, String>;
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
    Store(String),
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
            let (trouble, passes) = match outcome {
                Ok(done) => (done.trouble(), done.passes()),
                Err(error) => (Some(error.trouble()), error.passes()),
            };
            let interval = self.options.interval;
            let next = start + if passes { AGAIN_AFTER.min(interval) } else { interval }.max(INTERVAL_MIN);
            let is_well = trouble.is_none();
            self.note(trouble);
            // What is refused or switched off is not asked for again because of a topic.
            tokio::select! {
                () = sleep_until(next) => {}
                Ok(()) = self.copied.changed(), if is_well => {}
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
        let call = |doing, source| RoundError::Call { side: "destination", doing, source };

        let wanted: Vec<Acl> = plan.grants.iter().map(|grant| grant.acl.clone()).collect();
        let known = self.granted.clone().unwrap_or_default();
        self.remember(&wanted, &[]).await?;
        let answers =
            self.destination.create_acls(&wanted).await.map_err(|error| call("create ACLs", error))?;
        let mut not_there = Vec::new();
        for (Grant { acl, origin }, answer) in plan.grants.iter().zip(answers) {
            match answer {
                Ok(()) => {
                    done.granted += 1;
                    debug!(%acl, %origin, "ACL created");
                }
                Err(refusal) => {
                    if is_not_done(&refusal) && !holds(&known, acl) {
                        not_there.push(acl.clone());
                    }
                    done.note_refused(acl, &refusal);
                }
            }
        }

        let unwanted: Vec<Acl> = plan.revokes.iter().chain(&plan.gone).cloned().collect();
        let answers =
            self.destination.delete_acls(&unwanted).await.map_err(|error| call("delete ACLs", error))?;
        for (index, (acl, answer)) in unwanted.iter().zip(answers).enumerate() {
            match answer {
                Ok(()) => {
                    done.revoked += usize::from(index < plan.revokes.len());
                    not_there.push(acl.clone());
                    debug!(%acl, "ACL deleted");
                }
                Err(refusal) => done.note_refused(acl, &refusal),
            }
        }
        self.remember(&[], &not_there).await?;
        Ok(done)
    }

    /// Stores that `added` are ours, and `removed` are not.
    async fn remember(&mut self, added: &[Acl], removed: &[Acl]) -> Result<(), RoundError> {
        let mut granted = self.granted.clone().unwrap_or_default();
        let changes = changes(&granted, added, removed);
        if changes.is_empty() {
            return Ok(());
        }
        granted.extend(changes.clone());
        granted.retain(|_, entries| !entries.is_empty());
        self.with_store(move |store| store.save(&changes)).await?;
        self.granted = Some(granted);
        Ok(())
    }

    async fn with_store<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut dyn GrantStore) -> Result<T, String> + Send + 'static,
    ) -> Result<T, RoundError> {
        let Some(mut store) = self.store.take() else {
            return Err(RoundError::Store(String::from("an earlier call did not come to an end")));
        };
        let (result, store) = blocking(move || (work(&mut *store), store)).await;
        self.store = Some(store);
        result.map_err(RoundError::Store)
    }

    /// Tells of what changed. The same advice is given once: which broker says so, and of which ACL first, may be another
    /// each time.
    fn note(&self, trouble: Option<AclTrouble>) {
        let before = self.status.borrow().trouble.clone();
        match &trouble {
            Some(AclTrouble { what, hint }) if before.as_ref().is_none_or(|before| before.hint != *hint) => {
                warn!(reason = what, hint, "ACLs are not copied");
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
    let of = |(resource, entries): (&model::ResourcePattern, &BTreeSet<model::AccessControlEntry>)| {
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

    /// What is to be told of what was refused.
    fn trouble(&self) -> Option<AclTrouble> {
        let (first, error, count) = self.refused.as_ref()?;
        let more = if *count > 1 { format!(", and {} more", count - 1) } else { String::new() };
        let what = format!("the destination refused to change the ACL {first}{more}");
        Some(AclTrouble { what, hint: hint("destination", Some(*error)) })
    }
}

impl RoundError {
    /// Whether it is over without anybody doing anything.
    fn passes(&self) -> bool {
        match self {
            RoundError::Call { source: CallError::Unsupported { .. }, .. } => false,
            // A whole request that was refused is about rights; anything else is the network's.
            RoundError::Call { source, .. } => source.error_code().is_none(),
            RoundError::Store(_) => true,
        }
    }

    fn trouble(&self) -> AclTrouble {
        let (side, code) = match self {
            RoundError::Call { side, source, .. } => (*side, source.error_code()),
            RoundError::Store(_) => {
                let hint = "mend the place of progress, or restart the worker; it is tried again by itself";
                return AclTrouble { what: chain(self), hint };
            }
        };
        let hint = match self {
            RoundError::Call { source: CallError::Unsupported { .. }, .. } => {
                "set sync.topic.acls.enabled=false, or copy between newer brokers"
            }
            _ => hint(side, code),
        };
        AclTrouble { what: chain(self), hint }
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
        let AclTrouble { what, hint } = done.trouble().expect("some were refused");
        assert_eq!(
            what,
            "the destination refused to change the ACL User:ann READ on topic `a`: CLUSTER_AUTHORIZATION_FAILED (31), and 1 more"
        );
        assert_eq!(hint, "give the destination's user ALTER on the cluster, which includes DESCRIBE");
    }
}
