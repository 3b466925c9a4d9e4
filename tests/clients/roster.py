"""Which clients there are, at which versions, and how each is fetched and called."""
import functools
import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "integration"))

from fixture import BUILD_CLIENTS as BUILD, ROOT, Skip, fetched, need, npm_folder  # noqa: E402

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


class Client:
    """A program that does the actions of README.md; `lacks` are those that it cannot do, with why."""

    def __init__(self, name, version, lacks=None):
        self.name, self.version, self.lacks = name, version, lacks or {}

    def command(self):
        """The words before ACTION; fetches what is missing."""
        raise NotImplementedError


class Debian(Client):
    def __init__(self, name, version, module, script, lacks=None):
        super().__init__(name, version, lacks)
        self.module, self.script = module, script

    def command(self):
        python = "/usr/bin/python3"
        ran = subprocess.run([python, "-c", f"import {self.module}"], capture_output=True, check=False)
        if ran.returncode != 0:
            raise Skip(f"/usr/bin/python3 has no {self.module}: run tools/dev setup")
        return [python, os.path.join(HERE, self.script)]


class PyPI(Client):
    def __init__(self, name, version, package, script, lacks=None):
        super().__init__(name, version, lacks)
        self.package, self.script = package, script

    def command(self):
        venv = os.path.join(BUILD, f"{self.package}-{self.version}")
        python = os.path.join(venv, "bin", "python")
        if not os.path.exists(python):
            fetched("venv-" + self.package, self.version, "/usr/bin/python3", "-m", "venv", venv)
        fetched(self.package, self.version, python, "-m", "pip", "install", "--quiet",
                "--disable-pip-version-check", "--retries", "1", "--timeout", "20",
                f"{self.package}=={self.version}", *self.besides)
        return [python, os.path.join(HERE, self.script)]

    besides = ()


class PyPICodecs(PyPI):
    """The codecs are packages of their own."""
    besides = ("python-snappy==0.7.3", "lz4==4.4.4", "zstandard==0.25.0")


class Npm(Client):
    def __init__(self, name, version, package, script, lacks=None, least_node=0):
        super().__init__(name, version, lacks)
        self.package, self.script, self.least_node = package, script, least_node

    def command(self):
        folder = npm_folder(self.least_node, f"{self.package}@{self.version}")
        script = os.path.join(folder, self.script)  # Beside node_modules, where it looks.
        shutil.copyfile(os.path.join(HERE, self.script), script)
        return ["node", script]


class Maven(Client):
    def jars(self):
        """The client's own dependencies, as its POM has them."""
        need("mvn")
        need("javac")
        folder = os.path.join(BUILD, f"kafka-clients-{self.version}")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "pom.xml"), "w", encoding="ascii") as file:
            file.write(POM.format(self.version))
        fetched("kafka-clients", self.version, "mvn", "-q", "-B", "-f", os.path.join(folder, "pom.xml"),
                "dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={folder}")
        return folder

    @functools.cache
    def command(self):
        folder = self.jars()
        ran = subprocess.run(["javac", "-Xlint:all", "-Werror", "-cp", f"{folder}/*", "-d", folder,
                              os.path.join(HERE, "KafkaClient.java")], capture_output=True, check=False)
        if ran.returncode != 0:
            raise AssertionError(f"javac: {ran.stderr.decode()}")
        return ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp",
                f"{folder}:{folder}/*", "KafkaClient"]


POM = """<project><modelVersion>4.0.0</modelVersion>
<groupId>floe</groupId><artifactId>clients</artifactId><version>0</version><packaging>pom</packaging>
<dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-clients</artifactId><version>{}</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>1.7.36</version></dependency>
</dependencies></project>
"""

NO_CODEC = "it brings no such codec"

KAFKA = [
    Debian("kcat", "1.7.1", "sys", "client_kcat.py",
           lacks={"admin": "it has no admin calls"}),
    Debian("confluent-kafka-python on librdkafka 2.0.2", "1.7.0", "confluent_kafka", "client_confluent.py"),
    PyPI("confluent-kafka-python on librdkafka 2.15.0", "2.15.0", "confluent-kafka", "client_confluent.py"),
    Maven("Java kafka-clients", "3.9.1"),
    Maven("Java kafka-clients", "4.4.0"),
    Debian("kafka-python", "2.0.2", "kafka", "client_kafka_python.py",
           lacks={"idempotent": "it cannot", "snappy": NO_CODEC, "lz4": NO_CODEC, "zstd": NO_CODEC}),
    PyPICodecs("kafka-python", "3.0.12", "kafka-python", "client_kafka_python.py"),
    Npm("kafkajs", "2.2.4", "kafkajs", "client_kafkajs.js",
        lacks={"snappy": NO_CODEC, "lz4": NO_CODEC, "zstd": NO_CODEC, "assign": "it reads in groups only"}),
]
