//! The two clusters of each connector, once they have answered: who they are, and whether the connector may
//! copy from one to the other.

use client::{ApiKey, Cluster};
use control::OtherFlow;
use offsets::Producer;
use topology::Neighbour;
use tracing::info;

use crate::connector::Connector;
use crate::run::RunError;
use crate::start_up::reach;

/// The clusters of one connector.
pub(crate) struct Reached {
    pub(crate) source: Cluster,
    pub(crate) destination: Cluster,
    /// The clusters' own ids.
    source_id: Option<String>,
    destination_id: Option<String>,
}

impl Reached {
    /// Waits for a few seconds until both answer.
    ///
    /// # Errors
    /// [`RunError::Reach`].
    pub(crate) async fn reach(connector: &Connector) -> Result<Reached, RunError> {
        let source = Cluster::new(connector.source.clone());
        let destination = Cluster::new(connector.destination.clone());
        let (at_source, at_destination) = tokio::try_join!(
            reach(&source, &connector.source_end),
            reach(&destination, &connector.destination_end)
        )
        .map_err(|error| RunError::Reach(Box::new(error)))?;
        info!(
            connector = connector.name,
            source = connector.source_end.bootstrap,
            source_cluster = at_source.cluster_id.as_deref().unwrap_or("unknown"),
            source_brokers = at_source.brokers.len(),
            destination = connector.destination_end.bootstrap,
            destination_cluster = at_destination.cluster_id.as_deref().unwrap_or("unknown"),
            destination_brokers = at_destination.brokers.len(),
            "clusters reached"
        );
        let (source_id, destination_id) = (at_source.cluster_id, at_destination.cluster_id);
        Ok(Reached { source, destination, source_id, destination_id })
    }

    /// Whether the destination is of Kafka 2.8 or newer: then it lists DescribeProducers. `None` if it does not say.
    pub(crate) async fn destination_is_since_2_8(&self) -> Option<bool> {
        let versions = self.destination.versions(None).await.ok()?;
        Some(versions.listed(ApiKey::DescribeProducers).is_some())
    }

    /// Refuses what must not be begun: a copy onto itself, and progress made with another destination, as
    /// `stored` says.
    ///
    /// # Errors
    /// [`RunError::OtherDestination`], [`RunError::Itself`].
    pub(crate) fn check(&self, connector: &Connector, stored: Option<&Producer>) -> Result<(), RunError> {
        let stored = stored.and_then(|producer| producer.destination_cluster_id.as_ref());
        if let (Some(stored), Some(present)) = (stored, &self.destination_id)
            && stored != present
        {
            return Err(RunError::OtherDestination {
                connector: connector.name.clone(),
                stored: stored.clone(),
                present: present.clone(),
            });
        }
        if let (Some(one), Some(other)) = (&self.source_id, &self.destination_id)
            && one == other
        {
            if connector.control.naming.is_unchanged() {
                let (connector, cluster_id) = (connector.name.clone(), one.clone());
                return Err(RunError::Itself { connector, cluster_id });
            }
            info!(connector = connector.name, cluster = one, "source and destination are the same cluster");
        }
        Ok(())
    }
}

/// The flows beside the one at `index`, as that one has to know them. A cluster without an id is none that could
/// be told from another.
pub(crate) fn others(all: &[(&Connector, Reached)], index: usize) -> Vec<OtherFlow> {
    let other = |(place, (connector, clusters)): (usize, &(&Connector, Reached))| {
        let neighbour = Neighbour {
            name: connector.name.clone(),
            source_cluster: clusters.source_id.clone()?,
            destination_cluster: clusters.destination_id.clone()?,
            selection: connector.control.selection.clone(),
            naming: connector.control.naming.clone(),
            goes_first: place < index,
        };
        Some(OtherFlow { neighbour, source: clusters.source.clone() })
    };
    all.iter().enumerate().filter(|(place, _)| *place != index).filter_map(other).collect()
}

/// The names of the flows that copy to the source of the one at `index`: that one itself, where source and destination
/// are one cluster. Also of those that copy no ACLs now: what they have created stays.
pub(crate) fn to_source_of(all: &[(&Connector, Reached)], index: usize) -> Vec<String> {
    let source = all.get(index).and_then(|(_, clusters)| clusters.source_id.as_ref());
    let copies_there = |(_, clusters): &&(&Connector, Reached)| {
        source.is_some() && clusters.destination_id.as_ref() == source
    };
    all.iter().filter(copies_there).map(|(connector, _)| connector.name.clone()).collect()
}
