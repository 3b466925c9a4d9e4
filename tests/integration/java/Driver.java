import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.zip.CRC32;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.CreateTopicsResult;
import org.apache.kafka.clients.admin.DescribeClusterResult;
import org.apache.kafka.clients.admin.DescribeConfigsOptions;
import org.apache.kafka.clients.admin.LogDirDescription;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.CloseOptions;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.Metric;
import org.apache.kafka.common.MetricName;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * The Java client as a command. Each sub-command prints what it saw, a line for each thing, words
 * with a space between; test_java.py judges. Whatever the client throws ends it with code 1.
 */
public final class Driver {
    /** Record n says that it is of second n after this: what offsetsForTimes is asked for. */
    private static final long TIME_BASE = 1_700_000_000_000L;
    private static final int ALIVE_MAX = 300;

    private static final PrintStream OUT = new PrintStream(
            new BufferedOutputStream(System.out, 1 << 16), false, StandardCharsets.UTF_8);

    private final String address;
    private final String[] words;

    private Driver(String[] words) {
        this.address = words[1];
        this.words = words;
    }

    private String word(int index) {
        return words[index + 2];
    }

    private int number(int index) {
        return Integer.parseInt(word(index));
    }

    private TopicPartition partition(int index) {
        return new TopicPartition(word(index), number(index + 1));
    }

    /** With the settings that stand at the end of the command line as key=value. */
    private Map<String, Object> settings() {
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", address);
        for (String text : words) {
            int at = text.indexOf('=');
            if (at > 0) {
                settings.put(text.substring(0, at), text.substring(at + 1));
            }
        }
        return settings;
    }

    private KafkaProducer<byte[], byte[]> producer() {
        Map<String, Object> settings = settings();
        settings.put("enable.idempotence", "true");
        settings.put("acks", "all");
        return new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
    }

    private KafkaConsumer<byte[], byte[]> consumer() {
        Map<String, Object> settings = settings();
        settings.put("auto.offset.reset", "none");
        return new KafkaConsumer<>(settings, new ByteArrayDeserializer(),
                new ByteArrayDeserializer());
    }

    /** Record n: of `size` bytes and some more, so that no two neighbours have the same size. */
    private static ProducerRecord<byte[], byte[]> record(TopicPartition to, int n, int size) {
        byte[] piece = (n + ":").getBytes(StandardCharsets.US_ASCII);
        byte[] value = new byte[size + n % 50];
        for (int at = 0; at < value.length; at += piece.length) {
            System.arraycopy(piece, 0, value, at, Math.min(piece.length, value.length - at));
        }
        byte[] key = ("k" + n).getBytes(StandardCharsets.US_ASCII);
        return new ProducerRecord<>(to.topic(), to.partition(), TIME_BASE + n * 1000L, key, value);
    }

    private static void print(ConsumerRecord<byte[], byte[]> record) {
        CRC32 crc = new CRC32();
        crc.update(record.value());
        byte[] key = record.key();
        OUT.println(record.partition() + " " + record.offset() + " " + record.timestamp() + " "
                + (key == null ? "-" : new String(key, StandardCharsets.US_ASCII)) + " "
                + record.value().length + " " + crc.getValue());
    }

    /** produce TOPIC PARTITIONS FIRST COUNT SIZE: round robin; PARTITION OFFSET, in that order. */
    private void produce() throws Exception {
        int partitions = number(1);
        int first = number(2);
        int count = number(3);
        int size = number(4);
        try (KafkaProducer<byte[], byte[]> producer = producer()) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int n = first; n < first + count; n++) {
                TopicPartition to = new TopicPartition(word(0), n % partitions);
                sent.add(producer.send(record(to, n, size)));
            }
            for (Future<RecordMetadata> future : sent) {
                RecordMetadata metadata = future.get();
                OUT.println(metadata.partition() + " " + metadata.offset());
            }
        }
    }

    /**
     * flow TOPIC PARTITION SIZE: records without end, a line OFFSET for each that was acked, until
     * standard input ends; then "sent COUNT". A few at a time are on their way, so that the reader
     * of the lines decides in the middle of what it does a thing.
     */
    private void flow() throws Exception {
        TopicPartition to = partition(0);
        int size = number(2);
        AtomicBoolean stop = new AtomicBoolean();
        Thread reader = new Thread(() -> {
            try {
                while (System.in.read() >= 0) {
                }
            } catch (IOException error) {
                System.err.println(error);
            }
            stop.set(true);
        });
        reader.setDaemon(true);
        reader.start();
        Semaphore alive = new Semaphore(ALIVE_MAX);
        int n = 0;
        try (KafkaProducer<byte[], byte[]> producer = producer()) {
            for (; !stop.get(); n++) {
                alive.acquire();
                producer.send(record(to, n, size), (metadata, error) -> {
                    OUT.println(error == null ? metadata.offset() : "failed " + error);
                    OUT.flush();
                    alive.release();
                });
            }
        }
        OUT.println("sent " + n);
    }

    /** Polls until there are `count` records more; prints the first `count`. */
    private static void print(KafkaConsumer<byte[], byte[]> consumer, int count) {
        for (int found = 0; found < count;) {
            for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofSeconds(1))) {
                if (found++ < count) {
                    print(record);
                }
            }
        }
    }

    /** consume TOPIC PARTITION COUNT FROM...: so many records from each of these offsets. */
    private void consume() {
        TopicPartition from = partition(0);
        try (KafkaConsumer<byte[], byte[]> consumer = consumer()) {
            consumer.assign(List.of(from));
            for (int i = 3; i + 2 < words.length; i++) {
                consumer.seek(from, number(i));
                print(consumer, number(2));
            }
        }
    }

    /** consume-all TOPIC PARTITIONS COUNT: one consumer of them all, from their beginnings. */
    private void consumeAll() {
        List<TopicPartition> from = partitions(word(0), number(1));
        try (KafkaConsumer<byte[], byte[]> consumer = consumer()) {
            consumer.assign(from);
            consumer.seekToBeginning(from);
            print(consumer, number(2));
        }
    }

    /**
     * group TOPIC GROUP COUNT MAX [KEY=VALUE]...: a member of the group reads so many records, at
     * most MAX in a poll, commits what it polled, and leaves.
     */
    private void group() {
        Map<String, Object> settings = settings();
        settings.put("group.id", word(1));
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", "false");
        settings.put("max.poll.records", word(3));
        for (int i = 6; i < words.length; i++) {
            String[] pair = words[i].split("=", 2);
            settings.put(pair[0], pair[1]);
        }
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(settings,
                new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.subscribe(List.of(word(0)));
            for (int found = 0; found < number(2);) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofSeconds(1))) {
                    found++;
                    print(record);
                }
                consumer.commitSync();
            }
        }
    }

    private static List<TopicPartition> partitions(String topic, int count) {
        List<TopicPartition> all = new ArrayList<>();
        for (int n = 0; n < count; n++) {
            all.add(new TopicPartition(topic, n));
        }
        return all;
    }

    /** offsets TOPIC PARTITIONS: PARTITION BEGINNING END. */
    private void offsets() {
        List<TopicPartition> all = partitions(word(0), number(1));
        try (KafkaConsumer<byte[], byte[]> consumer = consumer()) {
            Map<TopicPartition, Long> beginnings = consumer.beginningOffsets(all);
            Map<TopicPartition, Long> ends = consumer.endOffsets(all);
            for (TopicPartition one : all) {
                OUT.println(one.partition() + " " + beginnings.get(one) + " " + ends.get(one));
            }
        }
    }

    /** times TOPIC PARTITION MILLISECONDS...: OFFSET TIME, or none; times count from TIME_BASE. */
    private void times() {
        TopicPartition of = partition(0);
        try (KafkaConsumer<byte[], byte[]> consumer = consumer()) {
            for (int i = 4; i < words.length && words[i].indexOf('=') < 0; i++) {
                long time = TIME_BASE + Long.parseLong(words[i]);
                OffsetAndTimestamp found = consumer.offsetsForTimes(Map.of(of, time)).get(of);
                OUT.println(found == null
                        ? "none"
                        : found.offset() + " " + (found.timestamp() - TIME_BASE));
            }
        }
    }

    private static long metric(Map<MetricName, ? extends Metric> all, String group, String name) {
        for (Map.Entry<MetricName, ? extends Metric> entry : all.entrySet()) {
            MetricName found = entry.getKey();
            // Those of one node or one topic have tags besides the client's name.
            if (found.group().equals(group) && found.name().equals(name)
                    && found.tags().size() == 1) {
                return ((Double) entry.getValue().metricValue()).longValue();
            }
        }
        throw new IllegalStateException("no metric " + group + " " + name);
    }

    private static boolean requestIsOut(KafkaConsumer<byte[], byte[]> consumer) {
        Map<MetricName, ? extends Metric> all = consumer.metrics();
        return metric(all, "consumer-metrics", "request-total")
                > metric(all, "consumer-metrics", "response-total");
    }

    /**
     * wait TOPIC PARTITION ROUNDS: in each, a request of the consumer (after the first round: its
     * fetch, which finds nothing) is out, and a record is appended then. Prints each record, and
     * "fetches N": how many answers that took.
     */
    private void waitForAppend() throws Exception {
        TopicPartition of = partition(0);
        KafkaConsumer<byte[], byte[]> consumer = consumer();
        try (KafkaProducer<byte[], byte[]> producer = producer()) {
            consumer.assign(List.of(of));
            consumer.seek(of, 0);
            for (int n = 0; n < number(2); n++) {
                do {
                    if (!consumer.poll(Duration.ofMillis(20)).isEmpty()) {
                        throw new IllegalStateException("a record before there was one");
                    }
                } while (!requestIsOut(consumer));
                producer.send(record(of, n, 10)).get();
                print(consumer, 1);
            }
            OUT.println("fetches "
                    + metric(consumer.metrics(), "consumer-fetch-manager-metrics", "fetch-total"));
        } finally {
            // The next fetch is out already; close() alone would wait for its answer.
            consumer.close(CloseOptions.timeout(Duration.ZERO));
        }
    }

    /** create TOPIC PARTITIONS; grow TOPIC PARTITIONS; describe TOPIC; delete TOPIC; list; ... */
    private void admin() throws Exception {
        try (Admin admin = Admin.create(settings())) {
            switch (words[0]) {
                case "create" -> admin.createTopics(
                        List.of(new NewTopic(word(0), number(1), (short) 1))).all().get();
                case "delete" -> admin.deleteTopics(List.of(word(0))).all().get();
                case "alter" -> alter(admin);
                case "configs" -> configs(admin);
                case "create-with" -> createWith(admin);
                case "cluster" -> cluster(admin);
                case "dirs" -> dirs(admin);
                case "grow" -> admin.createPartitions(
                        Map.of(word(0), NewPartitions.increaseTo(number(1)))).all().get();
                case "list" -> admin.listTopics().names().get().stream().sorted()
                        .forEach(OUT::println);
                default -> describe(admin);
            }
        }
    }

    /** alter TOPIC KEY=VALUE...: set; KEY=: deleted; +KEY=WORD, -KEY=WORD: of a list. */
    private void alter(Admin admin) throws Exception {
        List<AlterConfigOp> ops = new ArrayList<>();
        for (int i = 3; i < words.length; i++) {
            AlterConfigOp.OpType type = switch (words[i].charAt(0)) {
                case '+' -> AlterConfigOp.OpType.APPEND;
                case '-' -> AlterConfigOp.OpType.SUBTRACT;
                default -> words[i].endsWith("=")
                        ? AlterConfigOp.OpType.DELETE : AlterConfigOp.OpType.SET;
            };
            String[] pair = words[i].replaceFirst("^[+-]", "").split("=", 2);
            ops.add(new AlterConfigOp(new ConfigEntry(pair[0], pair[1]), type));
        }
        ConfigResource topic = new ConfigResource(ConfigResource.Type.TOPIC, word(0));
        try {
            admin.incrementalAlterConfigs(Map.of(topic, ops)).all().get();
            OUT.println("altered");
        } catch (ExecutionException error) {
            OUT.println(error.getCause().getClass().getSimpleName() + ": "
                    + error.getCause().getMessage());
        }
    }

    /** configs topic|broker NAME: KEY VALUE SOURCE TYPE READ-ONLY SYNONYMS DOCUMENTED. */
    private void configs(Admin admin) throws Exception {
        ConfigResource of = new ConfigResource(word(0).equals("topic")
                ? ConfigResource.Type.TOPIC : ConfigResource.Type.BROKER, word(1));
        Config found = admin.describeConfigs(List.of(of),
                new DescribeConfigsOptions().includeSynonyms(true).includeDocumentation(true))
                .all().get().get(of);
        for (ConfigEntry entry : found.entries()) {
            OUT.println(entry.name() + " " + entry.value().replace(' ', '_') + " " + entry.source()
                    + " " + entry.type() + " " + entry.isReadOnly() + " "
                    + entry.synonyms().size() + " " + (entry.documentation() != null));
        }
    }

    /** create-with TOPIC KEY=VALUE: what the answer says: partitions, replicas, the config, its source. */
    private void createWith(Admin admin) throws Exception {
        String[] pair = word(1).split("=", 2);
        CreateTopicsResult made = admin.createTopics(List.of(
                new NewTopic(word(0), Optional.empty(), Optional.empty())
                        .configs(Map.of(pair[0], pair[1]))));
        ConfigEntry entry = made.config(word(0)).get().get(pair[0]);
        OUT.println(made.numPartitions(word(0)).get() + " "
                + made.replicationFactor(word(0)).get() + " " + entry.value() + " "
                + entry.source() + " " + made.config(word(0)).get().entries().size() + " "
                + made.topicId(word(0)).get().equals(admin.describeTopics(List.of(word(0)))
                        .allTopicNames().get().get(word(0)).topicId()));
    }

    /** cluster: NODES CONTROLLER ID-LETTERS; dirs: DIRECTORY, then TOPIC PARTITION SIZE. */
    private void cluster(Admin admin) throws Exception {
        DescribeClusterResult found = admin.describeCluster();
        OUT.println(found.nodes().get().size() + " " + found.controller().get().id() + " "
                + found.clusterId().get().length());
    }

    private void dirs(Admin admin) throws Exception {
        for (Map<String, LogDirDescription> dirs
                : admin.describeLogDirs(List.of(number(0))).allDescriptions().get().values()) {
            for (Map.Entry<String, LogDirDescription> dir : dirs.entrySet()) {
                OUT.println(dir.getKey());
                dir.getValue().replicaInfos().entrySet().stream()
                        .map(entry -> entry.getKey().topic() + " " + entry.getKey().partition()
                                + " " + entry.getValue().size())
                        .sorted().forEach(OUT::println);
            }
        }
    }

    private void describe(Admin admin) throws Exception {
        TopicDescription found =
                admin.describeTopics(List.of(word(0))).allTopicNames().get().get(word(0));
        for (TopicPartitionInfo one : found.partitions()) {
            OUT.println(one.partition() + " " + one.leader().id());
        }
    }

    private void run() throws Exception {
        switch (words[0]) {
            case "produce" -> produce();
            case "flow" -> flow();
            case "consume" -> consume();
            case "consume-all" -> consumeAll();
            case "group" -> group();
            case "offsets" -> offsets();
            case "times" -> times();
            case "wait" -> waitForAppend();
            case "create", "describe", "delete", "list", "alter", "configs", "create-with",
                    "cluster", "dirs", "grow" -> admin();
            default -> throw new IllegalArgumentException(Arrays.toString(words));
        }
    }

    public static void main(String[] words) {
        int code = 0;
        try {
            new Driver(words).run();
        } catch (Exception error) {
            error.printStackTrace();
            code = 1;
        }
        OUT.flush();
        System.exit(code);
    }
}
