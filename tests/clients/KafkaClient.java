import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.zip.CRC32;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** The Java client of any version as a command; see README.md for what each action prints. */
public final class KafkaClient {
    private static final long TIME_BASE = 1_700_000_000_000L;
    private static final Duration PATIENCE = Duration.ofSeconds(30);

    private final String address;
    private final String topic;
    private final String[] words;

    private KafkaClient(String[] words) {
        this.address = words[1];
        this.topic = words[2];
        this.words = words;
    }

    private String word(int index) {
        return words[index + 3];
    }

    private int number(int index) {
        return Integer.parseInt(word(index));
    }

    private static byte[] value(int n) {
        byte[] whole = (n + ":").repeat(150).getBytes(StandardCharsets.US_ASCII);
        return java.util.Arrays.copyOf(whole, 100 + n % 50);
    }

    private static void show(ConsumerRecord<byte[], byte[]> record) {
        CRC32 crc = new CRC32();
        crc.update(record.value());
        System.out.println(record.partition() + " " + record.offset() + " "
                + new String(record.key(), StandardCharsets.US_ASCII) + " " + crc.getValue());
    }

    private void produce() throws Exception {
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", address);
        settings.put("acks", "all");
        settings.put("linger.ms", "5");
        settings.put("compression.type", word(0));
        settings.put("enable.idempotence", word(1).equals("1") ? "true" : "false");
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(settings,
                new ByteArraySerializer(), new ByteArraySerializer())) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int n = number(2); n < number(2) + number(3); n++) {
                byte[] key = ("k" + n).getBytes(StandardCharsets.US_ASCII);
                ProducerRecord<byte[], byte[]> record =
                        new ProducerRecord<>(topic, 0, TIME_BASE + n, key, value(n));
                record.headers().add("n", Integer.toString(n).getBytes(StandardCharsets.US_ASCII));
                sent.add(producer.send(record));
            }
            for (Future<RecordMetadata> one : sent) {
                System.out.println(one.get().offset());
            }
        }
    }

    private KafkaConsumer<byte[], byte[]> consumer(String group) {
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", address);
        settings.put("enable.auto.commit", "false");
        settings.put("auto.offset.reset", "earliest");
        if (group != null) {
            settings.put("group.id", group);
            settings.put("session.timeout.ms", "6000");
            settings.put("heartbeat.interval.ms", "500");
        }
        return new KafkaConsumer<>(settings, new ByteArrayDeserializer(),
                new ByteArrayDeserializer());
    }

    private static void take(KafkaConsumer<byte[], byte[]> consumer, int count) {
        long end = System.nanoTime() + PATIENCE.toNanos();
        int left = count;
        while (left > 0) {
            for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                show(record);
                left--;
            }
            if (System.nanoTime() > end) {
                throw new IllegalStateException(left + " records are missing after 30 s");
            }
        }
    }

    private void assign() {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(null)) {
            TopicPartition partition = new TopicPartition(topic, 0);
            consumer.assign(List.of(partition));
            consumer.seekToBeginning(List.of(partition));
            take(consumer, number(0));
        }
    }

    private void group() {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(word(0))) {
            consumer.subscribe(List.of(topic));
            take(consumer, number(1));
            consumer.commitSync();
        }
    }

    private void member() throws Exception {
        AtomicBoolean going = new AtomicBoolean();
        Thread loop = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            going.set(true);
            try {
                loop.join(20_000);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }));
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(word(0))) {
            consumer.subscribe(List.of(topic), new ConsumerRebalanceListener() {
                @Override
                public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
                    TreeSet<Integer> numbers = new TreeSet<>();
                    partitions.forEach(p -> numbers.add(p.partition()));
                    List<String> texts = new ArrayList<>();
                    numbers.forEach(n -> texts.add(n.toString()));
                    System.out.println("assigned " + String.join(",", texts));
                }

                @Override
                public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
                }
            });
            while (!going.get()) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    show(record);
                }
                consumer.commitSync();
            }
        }
    }

    private int partitions(Admin admin) throws Exception {
        return admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size();
    }

    private void admin() throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", address))) {
            admin.createTopics(List.of(new NewTopic(topic, 3, (short) 1))).all().get();
            System.out.println("created " + partitions(admin));
            admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(5))).all().get();
            System.out.println("grown " + partitions(admin));
            admin.deleteTopics(List.of(topic)).all().get();
            System.out.println("deleted "
                    + (admin.listTopics().names().get().contains(topic) ? "True" : "False"));
        }
    }

    public static void main(String[] words) throws Exception {
        KafkaClient client = new KafkaClient(words);
        switch (words[0]) {
            case "produce": client.produce(); break;
            case "assign": client.assign(); break;
            case "group": client.group(); break;
            case "member": client.member(); break;
            case "admin": client.admin(); break;
            default: throw new IllegalArgumentException(words[0]);
        }
        System.out.flush();
    }
}
