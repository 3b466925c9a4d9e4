"""What a start finds again, whatever ended the run before."""
import os
import re
import signal
import subprocess

from fixture import check, consume, equal, lines, produce


def test_kill_9_keeps_what_was_acked(world):
    server = world.server()
    records = lines(1000)
    produce(server, "kept", records)
    server.kill()
    server.start()
    equal(consume(server, "kept"), records)
    more = lines(100, "more")
    produce(server, "kept", more)
    equal(consume(server, "kept"), records + more)


def test_sigterm_exits_zero_and_keeps_all(world):
    server = world.server()
    records = lines(300)
    produce(server, "stopped", records)
    equal(server.stop(), 0, "exit code of SIGTERM")
    server.start()
    equal(consume(server, "stopped"), records)
    server.process.send_signal(signal.SIGINT)
    equal(server.ends(), 0, "exit code of SIGINT")


def test_topics_survive_a_restart(world):
    server = world.server(settings={"topic.auto.create": "false"})
    for name, partitions in (("a", 1), ("b", 5)):
        equal(world.floe("topic", "create", name, "-p", str(partitions), "-b",
                         server.address).returncode, 0)
    equal(world.floe("topic", "create", "gone", "-b", server.address).returncode, 0)
    equal(world.floe("topic", "delete", "gone", "-b", server.address).returncode, 0)
    before = world.floe("topic", "list", "-b", server.address).stdout
    server.kill()
    server.start()
    after = world.floe("topic", "list", "-b", server.address).stdout
    equal(sorted(after.splitlines()), sorted(before.splitlines()))
    equal(sorted(after.splitlines()), [b"a\t1\t1", b"b\t5\t1", b"topic\tpartitions\treplicas"])


def test_a_deleted_topic_stays_deleted(world):
    server = world.server(settings={"topic.auto.create": "false"})
    equal(world.floe("topic", "create", "d", "-b", server.address).returncode, 0)
    produce(server, "d", lines(50))
    equal(world.floe("topic", "delete", "d", "-b", server.address).returncode, 0)
    equal(world.floe("consume", "d", "--until", "end", "-b", server.address).returncode, 3)
    equal(world.floe("topic", "create", "d", "-b", server.address).returncode, 0)
    equal(world.floe("consume", "d", "--until", "end", "-b", server.address).stdout, b"",
          "records of the topic's former life")
    server.kill()
    server.start()
    equal(world.floe("consume", "d", "--until", "end", "-b", server.address).stdout, b"")


def test_small_segments_roll(world):
    server = world.server(settings={"segment.records": "100"})
    records = lines(1050)
    for start in range(0, len(records), 50):
        produce(server, "rolled", records[start:start + 50])
    equal(consume(server, "rolled"), records)
    server.kill()
    server.start()
    equal(consume(server, "rolled"), records)


def run_with(world, data, **settings):
    server = world.server(data=data, settings={key.replace("_", "."): value
                                                for key, value in settings.items()})
    return server


def engine_round_trip(world, engine):
    server = run_with(world, world.data, io_engine=engine)
    equal(server.ready["io"], engine, "the engine that runs")
    records = lines(500)
    produce(server, "engine", records)
    equal(consume(server, "engine"), records)
    server.kill()
    server.start()
    equal(consume(server, "engine"), records)
    equal(server.stop(), 0)


def test_posix_engine(world):
    engine_round_trip(world, "posix")


def test_uring_engine(world):
    engine_round_trip(world, "uring")


def test_an_engine_reads_what_the_other_wrote(world):
    records = []
    for engine in ("uring", "posix", "uring"):
        server = run_with(world, world.data, io_engine=engine)
        records += lines(50, engine)
        produce(server, "both", records[-50:])
        equal(consume(server, "both"), records)
        equal(server.stop(), 0)


def storage_round_trip(world, storage, engine):
    server = run_with(world, world.data, storage_engine=storage, io_engine=engine)
    equal(server.ready["storage"], storage)
    records = lines(200)
    produce(server, "stored", records)
    server.kill()
    server.start()
    equal(consume(server, "stored"), records)
    equal(server.stop(), 0)


def test_buffered_storage(world):
    storage_round_trip(world, "buffered", "auto")


def test_mapped_storage(world):
    storage_round_trip(world, "mmap", "auto")


def test_mapped_storage_and_the_posix_engine(world):
    storage_round_trip(world, "mmap", "posix")


def cores_round_trip(world, cores):
    server = run_with(world, world.data, cpu_cores=str(cores))
    equal(server.ready["cores"], str(cores))
    records = lines(200)
    produce(server, "cores", records)
    equal(consume(server, "cores"), records)
    equal(server.stop(), 0)


def test_one_core(world):
    cores_round_trip(world, 1)


def test_two_cores(world):
    cores_round_trip(world, 2)


def test_four_cores(world):
    cores_round_trip(world, 4)


def test_data_of_four_cores_opens_with_one_and_back(world):
    server = run_with(world, world.data, cpu_cores="4")
    equal(world.floe("topic", "create", "wide", "-p", "8", "-b", server.address).returncode, 0)
    records = lines(400)
    for partition in range(8):
        equal(world.floe("produce", "wide", "-p", str(partition), "-b", server.address,
                         input="\n".join(records[partition::8]).encode()).returncode, 0)
    equal(server.stop(), 0)
    for cores in ("1", "2", "4"):
        server = run_with(world, world.data, cpu_cores=cores)
        produce(server, "wide", [f"more-{cores}"])
        written = [records[partition::8] for partition in range(8)]
        written[0] = written[0] + [f"more-{n}" for n in ("1", "2", "4") if n <= cores]
        for partition in range(8):
            equal(consume(server, "wide", partition=str(partition)), written[partition],
                  f"partition {partition} with {cores} cores")
        equal(server.stop(), 0)


def test_a_directory_in_use_is_refused(world):
    server = world.server()
    second = world.server(start=False).launch()
    code = second.ends()
    equal(code, 1, "exit code of the second server")
    check(world.data in second.text, f"the message does not name the directory: {second.text}")
    produce(server, "still", lines(10))
    equal(consume(server, "still"), lines(10))


def test_a_foreign_directory_is_refused_and_untouched(world):
    os.makedirs(world.data)
    with open(os.path.join(world.data, "thesis.tex"), "w", encoding="utf-8") as file:
        file.write("of mine")
    server = world.server(start=False).launch()
    equal(server.ends(), 1)
    check(world.data in server.text, f"the message does not name the directory: {server.text}")
    equal(os.listdir(world.data), ["thesis.tex"])


def test_a_data_dir_that_is_a_file_is_refused(world):
    with open(world.data, "w", encoding="utf-8") as file:
        file.write("a file")
    server = world.server(start=False).launch()
    equal(server.ends(), 1)
    check(world.data in server.text, server.text)


def test_a_port_in_use_is_refused(world):
    server = world.server()
    second = world.server(data=world.data + "2", port=server.port, start=False).launch()
    equal(second.ends(), 1)
    check(str(server.port) in second.text, second.text)


def test_dev_mode_leaves_nothing_behind(world):
    command = [world.binary, "serve", "--dev", "--listen", "kafka://127.0.0.1:0",
               "--set", "memory.limit=256MiB", "--set", "meta.log.bytes=1MiB"]
    env = {**os.environ, "TMPDIR": world.dir}
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=env) as process:
        text = b""
        while b"data in" not in text:
            line = process.stderr.readline()
            check(line, f"ended early: {text}")
            text += line
        port = re.search(rb"listen=kafka://127\.0\.0\.1:(\d+)", text)[1].decode()
        equal(world.floe("produce", "fresh", "-b", f"127.0.0.1:{port}", input=b"one\n").returncode, 0)
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
        equal(process.wait(60), 0)
    equal([name for name in os.listdir(world.dir) if name.startswith("floe-dev")], [])
