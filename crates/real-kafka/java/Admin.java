package realkafka;

import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.DescribeTopicsResult;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.resource.ResourceType;

/** Topics of one cluster. */
final class Admin {
    private static final Map<String, Admin> ADMINS = new HashMap<>();
    private final AdminClient client;

    private Admin(AdminClient client) {
        this.client = client;
    }

    static Admin of(String bootstrap) {
        return ADMINS.computeIfAbsent(bootstrap, key -> {
            Map<String, Object> settings = new HashMap<>();
            settings.put("bootstrap.servers", bootstrap);
            settings.put("reconnect.backoff.max.ms", 500);
            return new Admin(AdminClient.create(settings));
        });
    }

    /** topic, partitions, replication factor, then settings as key=value. */
    void create(List<String> words) throws Exception {
        NewTopic topic = new NewTopic(words.get(0), Integer.parseInt(words.get(1)), Short.parseShort(words.get(2)));
        topic.configs(Session.options(words.subList(3, words.size())));
        client.createTopics(Collections.singleton(topic)).all().get();
        // The creation is done before every broker has heard of it; wait until it can be described with its leaders.
        for (int i = 0; i < 200; i++) {
            TopicDescription description = description(words.get(0));
            if (description != null && description.partitions().size() == topic.numPartitions()
                    && description.partitions().stream().allMatch(p -> p.leader() != null && !p.leader().isEmpty())) {
                return;
            }
            Thread.sleep(25);
        }
        throw new IllegalStateException("topic " + words.get(0) + " got no leaders");
    }

    /** Topics of one replica, named by what is put before a number: that many, of that many partitions. */
    void createMany(String prefix, int count, int partitions) throws Exception {
        List<NewTopic> topics = new ArrayList<>();
        for (int n = 0; n < count; n++) {
            topics.add(new NewTopic(prefix + n, partitions, (short) 1));
            // Kafka 4 takes 10,000 partitions in one request at most, and answers late where there are many.
            if (topics.size() == 50 || n == count - 1) {
                client.createTopics(topics).all().get();
                topics.clear();
            }
        }
    }

    void delete(List<String> topics) throws Exception {
        client.deleteTopics(topics).all().get();
    }

    void grow(String topic, int partitions) throws Exception {
        client.createPartitions(Collections.singletonMap(topic, NewPartitions.increaseTo(partitions))).all().get();
    }

    void deleteRecords(String topic, int partition, long before) throws Exception {
        client.deleteRecords(Collections.singletonMap(new TopicPartition(topic, partition), RecordsToDelete.beforeOffset(before)))
            .all().get();
    }

    /** A user of both mechanisms of SCRAM (2.7 and later). */
    void scramUser(String user, String password) throws Exception {
        String prefix = "org.apache.kafka.clients.admin.";
        Class<?> mechanismType = Class.forName(prefix + "ScramMechanism");
        Class<?> infoType = Class.forName(prefix + "ScramCredentialInfo");
        Class<?> upsertionType = Class.forName(prefix + "UserScramCredentialUpsertion");
        // One at a time: Kafka 4 takes a user once in a request.
        for (String name : new String[] {"SCRAM_SHA_256", "SCRAM_SHA_512"}) {
            Object mechanism = mechanismType.getField(name).get(null);
            Object info = infoType.getConstructor(mechanismType, int.class).newInstance(mechanism, 4096);
            Object upsertion = upsertionType.getConstructor(String.class, infoType, String.class).newInstance(user, info, password);
            Object result = AdminClient.class.getMethod("alterUserScramCredentials", List.class)
                .invoke(client, Collections.singletonList(upsertion));
            ((KafkaFuture<?>) Class.forName(prefix + "AlterUserScramCredentialsResult").getMethod("all").invoke(result)).get();
        }
    }

    /** A user may do an operation on a resource of this type and name from now on (2.0 and later). */
    void allow(String user, String operation, String type, String name) throws Exception {
        createAcl(Arrays.asList(type, "LITERAL", name, "User:" + user, "*", operation, "ALLOW"));
    }

    /** An ACL: resource type, pattern type, name, principal, host, operation, permission (2.0 and later). */
    private static AclBinding binding(List<String> words) throws Exception {
        AccessControlEntry entry = new AccessControlEntry(
            words.get(3), words.get(4), AclOperation.valueOf(words.get(5)), AclPermissionType.valueOf(words.get(6)));
        Class<?> kindType = Class.forName("org.apache.kafka.common.resource.PatternType");
        Class<?> patternType = Class.forName("org.apache.kafka.common.resource.ResourcePattern");
        Object pattern = patternType.getConstructor(ResourceType.class, String.class, kindType)
            .newInstance(ResourceType.valueOf(words.get(0)), words.get(2), kindType.getField(words.get(1)).get(null));
        return AclBinding.class.getConstructor(patternType, AccessControlEntry.class).newInstance(pattern, entry);
    }

    void createAcl(List<String> words) throws Exception {
        AclBinding binding = binding(words);
        client.createAcls(Collections.singleton(binding)).all().get();
        awaitAcl(binding, true);
    }

    void deleteAcl(List<String> words) throws Exception {
        AclBinding binding = binding(words);
        client.deleteAcls(Collections.singleton(binding.toFilter())).all().get();
        awaitAcl(binding, false);
    }

    /** The controller has heard of it; the brokers do a little later. */
    private void awaitAcl(AclBinding binding, boolean isThere) throws Exception {
        for (int i = 0; i < 200; i++) {
            if (client.describeAcls(binding.toFilter()).values().get().isEmpty() != isThere) {
                return;
            }
            Thread.sleep(25);
        }
        throw new IllegalStateException("the brokers did not hear of " + binding);
    }

    /** All ACLs, each in the words that it would be created with. */
    void acls(Session session) throws Exception {
        for (AclBinding binding : client.describeAcls(AclBindingFilter.ANY).values().get()) {
            Object pattern = AclBinding.class.getMethod("pattern").invoke(binding);
            AccessControlEntry entry = binding.entry();
            session.answer(
                pattern.getClass().getMethod("resourceType").invoke(pattern),
                pattern.getClass().getMethod("patternType").invoke(pattern),
                pattern.getClass().getMethod("name").invoke(pattern),
                entry.principal(), entry.host(), entry.operation(), entry.permissionType());
        }
    }

    void topics(Session session) throws Exception {
        for (String name : new TreeSet<>(client.listTopics().names().get())) {
            session.answer(name);
        }
    }

    /** Nothing for a topic that does not exist. */
    void describe(String topic, Session session) throws Exception {
        TopicDescription description = description(topic);
        if (description == null) {
            return;
        }
        session.answer("partitions", description.partitions().size());
        session.answer("replicas", description.partitions().get(0).replicas().size());
        for (Map.Entry<String, String> entry : settings(topic).entrySet()) {
            session.answer("config", entry.getKey(), entry.getValue());
        }
    }

    @SuppressWarnings("unchecked")
    private TopicDescription description(String topic) throws Exception {
        DescribeTopicsResult result = client.describeTopics(Collections.singleton(topic));
        Method method;
        try {
            method = DescribeTopicsResult.class.getMethod("allTopicNames"); // 3.1 and later
        } catch (NoSuchMethodException older) {
            method = DescribeTopicsResult.class.getMethod("all");
        }
        try {
            return ((KafkaFuture<Map<String, TopicDescription>>) method.invoke(result)).get().get(topic);
        } catch (ExecutionException error) {
            if (error.getCause() instanceof UnknownTopicOrPartitionException) {
                return null;
            }
            throw error;
        }
    }

    /** What was set for the topic itself. */
    private Map<String, String> settings(String topic) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        Config config = client.describeConfigs(Collections.singleton(resource)).all().get().get(resource);
        Map<String, String> settings = new TreeMap<>();
        for (ConfigEntry entry : config.entries()) {
            if (entry.source().name().equals("DYNAMIC_TOPIC_CONFIG")) {
                settings.put(entry.name(), entry.value());
            }
        }
        return settings;
    }

    /** topic, then key=value to set or key to unset. */
    void alter(List<String> words) throws Exception {
        String topic = words.get(0);
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        List<String> changes = words.subList(1, words.size());
        Class<?> operation;
        try {
            operation = Class.forName("org.apache.kafka.clients.admin.AlterConfigOp");
        } catch (ClassNotFoundException older) {
            alterWhole(topic, resource, changes);
            return;
        }
        Class<?> type = Class.forName("org.apache.kafka.clients.admin.AlterConfigOp$OpType");
        Collection<Object> operations = new ArrayList<>();
        for (String change : changes) {
            int at = change.indexOf('=');
            Object kind = type.getField(at < 0 ? "DELETE" : "SET").get(null);
            ConfigEntry entry = at < 0 ? new ConfigEntry(change, "") : new ConfigEntry(change.substring(0, at), change.substring(at + 1));
            operations.add(operation.getConstructor(ConfigEntry.class, type).newInstance(entry, kind));
        }
        Object result = AdminClient.class.getMethod("incrementalAlterConfigs", Map.class)
            .invoke(client, Collections.singletonMap(resource, operations));
        wait(result);
    }

    /** Before 2.3 the whole set is replaced. */
    private void alterWhole(String topic, ConfigResource resource, List<String> changes) throws Exception {
        Map<String, String> settings = settings(topic);
        for (String change : changes) {
            int at = change.indexOf('=');
            if (at < 0) {
                settings.remove(change);
            } else {
                settings.put(change.substring(0, at), change.substring(at + 1));
            }
        }
        List<ConfigEntry> entries = new ArrayList<>();
        settings.forEach((key, value) -> entries.add(new ConfigEntry(key, value)));
        Object result = AdminClient.class.getMethod("alterConfigs", Map.class)
            .invoke(client, Collections.singletonMap(resource, new Config(entries)));
        wait(result);
    }

    private static void wait(Object result) throws Exception {
        Object future = Class.forName("org.apache.kafka.clients.admin.AlterConfigsResult").getMethod("all").invoke(result);
        ((KafkaFuture<?>) future).get();
    }
}
