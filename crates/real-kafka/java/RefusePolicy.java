package realkafka;

import java.util.Map;
import org.apache.kafka.common.errors.PolicyViolationException;
import org.apache.kafka.server.policy.CreateTopicPolicy;

/** For {@code create.topic.policy.class.name}: refuses topics whose name begins with "refused". */
public final class RefusePolicy implements CreateTopicPolicy {
    @Override public void configure(Map<String, ?> settings) {}

    @Override public void validate(RequestMetadata wanted) {
        if (wanted.topic().startsWith("refused")) {
            throw new PolicyViolationException("names that begin with refused are refused");
        }
    }

    @Override public void close() {}
}
