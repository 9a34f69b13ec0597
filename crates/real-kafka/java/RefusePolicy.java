package realkafka;

import java.util.Map;
import org.apache.kafka.common.errors.PolicyViolationException;
import org.apache.kafka.server.policy.AlterConfigPolicy;
import org.apache.kafka.server.policy.CreateTopicPolicy;

/**
 * For {@code create.topic.policy.class.name}: refuses topics whose name begins with "refused". For
 * {@code alter.config.policy.class.name}: refuses the value 4242 of file.delete.delay.ms.
 */
public final class RefusePolicy implements CreateTopicPolicy, AlterConfigPolicy {
    @Override public void configure(Map<String, ?> settings) {}

    @Override public void validate(CreateTopicPolicy.RequestMetadata wanted) {
        if (wanted.topic().startsWith("refused")) {
            throw new PolicyViolationException("names that begin with refused are refused");
        }
    }

    @Override public void validate(AlterConfigPolicy.RequestMetadata wanted) {
        if ("4242".equals(wanted.configs().get("file.delete.delay.ms"))) {
            throw new PolicyViolationException("a file.delete.delay.ms of 4242 is refused");
        }
    }

    @Override public void close() {}
}
