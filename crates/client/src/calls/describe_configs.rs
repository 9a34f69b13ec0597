//! DescribeConfigs: the settings of topics and brokers.

use model::{BrokerId, TopicName};
use protocol::ApiKey;
use protocol::messages::DescribeConfigsRequest;
use protocol::messages::describe_configs_request::DescribeConfigsResource;
use protocol::messages::describe_configs_response::DescribeConfigsResult;

use crate::calls::{Refusal, outcome, str_bytes};
use crate::cluster::{Repeat, To};
use crate::{CallError, Cluster};

pub(super) const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// One setting as it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Its name.
    pub name: String,
    /// Its value; `None` where there is none, or it is not told.
    pub value: Option<String>,
    /// Who set it.
    pub source: ConfigSource,
    /// It cannot be changed while the broker runs.
    pub read_only: bool,
    /// Its value is a secret.
    pub sensitive: bool,
}

/// Who set a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    /// The topic's own override: the only ones that are the topic's.
    Topic,
    /// Set for the one broker while it ran.
    Broker,
    /// Set for all brokers while they ran.
    AllBrokers,
    /// The broker's file.
    StaticBroker,
    /// Nobody: Kafka's default.
    Default,
    /// Something newer.
    Other(i8),
}

impl ConfigSource {
    fn read(number: i8) -> ConfigSource {
        match number {
            1 => ConfigSource::Topic,
            2 => ConfigSource::Broker,
            3 => ConfigSource::AllBrokers,
            4 => ConfigSource::StaticBroker,
            5 => ConfigSource::Default,
            other => ConfigSource::Other(other),
        }
    }
}

impl Cluster {
    /// All settings of each of `topics`, defaults included. A broker of 1.1 says the defaults of a topic that
    /// does not exist, too (measured).
    ///
    /// # Errors
    /// As for any call; each topic has its own besides.
    pub async fn describe_topic_configs(
        &self,
        topics: &[TopicName],
    ) -> Result<Vec<(TopicName, Result<Vec<ConfigEntry>, Refusal>)>, CallError> {
        if topics.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<&str> = topics.iter().map(TopicName::as_str).collect();
        let (results, _) = self.describe_configs(To::Anyone, TOPIC, &names).await?;
        let read = |result: DescribeConfigsResult| {
            (TopicName::from(result.resource_name.as_str()), read_entries(result))
        };
        Ok(results.into_iter().map(read).collect())
    }

    /// All settings of `broker`, asked of itself.
    ///
    /// # Errors
    /// [`CallError::Refused`] with the broker's code; else as for any call.
    pub async fn describe_broker_configs(&self, broker: BrokerId) -> Result<Vec<ConfigEntry>, CallError> {
        let name = broker.to_string();
        let (results, connection) = self.describe_configs(To::Broker(broker), BROKER, &[&name]).await?;
        let Some(result) = results.into_iter().next() else { return Ok(Vec::new()) };
        read_entries(result).map_err(|refusal| CallError::Refused {
            api: ApiKey::DescribeConfigs,
            address: connection.address().clone(),
            error: refusal.error,
            message: refusal.message,
        })
    }

    async fn describe_configs(
        &self,
        to: To,
        resource_type: i8,
        names: &[&str],
    ) -> Result<(Vec<DescribeConfigsResult>, crate::Connection), CallError> {
        let request = |_version: i16| {
            let resource = |name: &&str| {
                DescribeConfigsResource::default()
                    .with_resource_type(resource_type)
                    .with_resource_name(str_bytes(name))
                    // All of them; the generated default asks for none.
                    .with_configuration_keys(None)
            };
            DescribeConfigsRequest::default().with_resources(names.iter().map(resource).collect())
        };
        let answer = self
            .call(to, Repeat::Harmless, "Kafka 1.1 or newer", request, |response| response.throttle_time_ms)
            .await?;
        Ok((answer.body.results, answer.connection))
    }
}

fn read_entries(result: DescribeConfigsResult) -> Result<Vec<ConfigEntry>, Refusal> {
    outcome(result.error_code, result.error_message)?;
    let entries = result.configs.into_iter().map(|config| ConfigEntry {
        name: config.name.to_string(),
        value: config.value.map(|value| value.to_string()),
        source: ConfigSource::read(config.config_source),
        read_only: config.read_only,
        sensitive: config.is_sensitive,
    });
    Ok(entries.collect())
}
