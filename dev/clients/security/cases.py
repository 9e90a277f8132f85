"""Logins of real clients over TLS: each mechanism with each client, and what must not get in.

It starts nothing: the address is the first argument; WATERSHED_SECURITY_DIR has the files that
`certificates` makes, WATERSHED_SECURITY_PASSWORD is the password of alice. Sessions are short, so
that clients log in anew within a case.
"""

import asyncio
import base64
import json
import os
import ssl
import subprocess
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
from harness import BOOTSTRAP, KT, case, command, contains, equal, main, unique  # noqa: E402

DIR = Path(os.environ["WATERSHED_SECURITY_DIR"])
PASSWORD = os.environ["WATERSHED_SECURITY_PASSWORD"]
# Longer than two sessions.
LONG = 7
PASSWORDS = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


def token(key="issuer", **claims):
    """A JWT signed with openssl."""
    body = {"sub": "alice", "iss": "https://issuer.example", "aud": "events",
            "exp": int(time.time()) + 60, **claims}

    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    text = part(json.dumps({"alg": "RS256", "kid": "issuer"}).encode())
    text += b"." + part(json.dumps(body).encode())
    signed = subprocess.run(["openssl", "dgst", "-sha256", "-sign", DIR / f"{key}.key"],
                            input=text, capture_output=True, check=True).stdout
    return (text + b"." + part(signed)).decode()


def settings(mechanism, password=PASSWORD, user="alice"):
    """librdkafka's."""
    login = {} if mechanism == "OAUTHBEARER" else {
        "sasl.username": user, "sasl.password": password}
    return {"bootstrap.servers": BOOTSTRAP, "security.protocol": "SASL_SSL",
            "ssl.ca.location": str(DIR / "ca.pem"), "sasl.mechanisms": mechanism, **login}


def there_and_back(config, seconds=0):
    """Produces and consumes with confluent-kafka, for some time."""
    from confluent_kafka import Consumer, Producer

    name = unique("t")
    producer = Producer(config)
    end = time.monotonic() + seconds
    sent, failed = 0, []

    def done(error, _):
        if error:
            failed.append(error)

    while True:
        producer.produce(name, str(sent), on_delivery=done)
        equal(producer.flush(20), 0, "unsent records")
        sent += 1
        if time.monotonic() >= end:
            break
        time.sleep(0.2)
    equal(failed, [])
    consumer = Consumer({**config, "group.id": unique("g"), "auto.offset.reset": "earliest"})
    consumer.subscribe([name])
    got, end = 0, time.monotonic() + 20
    while got < sent and time.monotonic() < end:
        message = consumer.poll(1)
        if message is not None:
            equal(message.error(), None)
            got += 1
    consumer.close()
    equal(got, sent, "records")


def refused(config):
    """The error a client gives that cannot log in."""
    from confluent_kafka import KafkaException, Producer

    errors = []
    producer = Producer({**config, "error_cb": lambda e: errors.append(e.name())})
    end = time.monotonic() + 8
    while not errors and time.monotonic() < end:
        producer.poll(0.1)
    try:
        producer.list_topics(timeout=4)
    except KafkaException:
        return errors
    raise AssertionError("it got in")


@case
def confluent_passwords():
    for mechanism in PASSWORDS:
        there_and_back(settings(mechanism))


@case(seconds=90)
def confluent_long_session():
    there_and_back(settings("SCRAM-SHA-256"), LONG)
    config = {**settings("OAUTHBEARER"),
              "oauth_cb": lambda _: (token(exp=int(time.time()) + 3), time.time() + 3)}
    there_and_back(config, LONG)


@case
def confluent_token():
    bearer = lambda **claims: {  # noqa: E731
        **settings("OAUTHBEARER"), "oauth_cb": lambda _: (token(**claims), time.time() + 60)}
    there_and_back(bearer())
    for claims in [{"key": "other"}, {"iss": "https://other.example"}, {"aud": "other"},
                   {"exp": 1}]:
        contains(refused(bearer(**claims)), "_AUTHENTICATION")


@case
def confluent_refused():
    for mechanism in PASSWORDS:
        contains(refused(settings(mechanism, "wrong")), "_AUTHENTICATION")
        contains(refused(settings(mechanism, user="nobody")), "_AUTHENTICATION")
    refused({**settings("PLAIN"), "security.protocol": "SASL_PLAINTEXT"})
    refused({"bootstrap.servers": BOOTSTRAP})
    stranger = settings("PLAIN")
    del stranger["ssl.ca.location"]
    refused(stranger)


@case
def kcat():
    def options(password):
        pairs = settings("SCRAM-SHA-512", password)
        del pairs["bootstrap.servers"]
        return [w for k, v in pairs.items() for w in ("-X", f"{k}={v}")]

    name = unique("t")
    command("kcat", "-b", BOOTSTRAP, "-P", "-t", name, *options(PASSWORD), stdin="a\nb\n")
    got = command("kcat", "-b", BOOTSTRAP, "-C", "-e", "-q", "-t", name, *options(PASSWORD))
    equal(got, "a\nb\n")
    command("kcat", "-b", BOOTSTRAP, "-L", "-m", "4", *options("wrong"), fails=True)


def aiokafka(mechanism, password=PASSWORD, bearer=None):
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
    from aiokafka.abc import AbstractTokenProvider

    class Tokens(AbstractTokenProvider):
        async def token(self):
            return bearer or token()

    common = {"bootstrap_servers": BOOTSTRAP, "security_protocol": "SASL_SSL",
              "ssl_context": ssl.create_default_context(cafile=str(DIR / "ca.pem")),
              "sasl_mechanism": mechanism, "sasl_plain_username": "alice",
              "sasl_plain_password": password, "sasl_oauth_token_provider": Tokens()}

    async def run():
        name = unique(mechanism.lower())
        producer = AIOKafkaProducer(**common)
        try:
            await producer.start()
            await producer.send_and_wait(name, mechanism.encode())
        finally:
            await producer.stop()
        consumer = AIOKafkaConsumer(name, auto_offset_reset="earliest", **common)
        await consumer.start()
        try:
            equal((await asyncio.wait_for(consumer.getone(), 20)).value, mechanism.encode())
        finally:
            await consumer.stop()

    asyncio.run(run())


@case
def aiokafka_each():
    for mechanism in [*PASSWORDS, "OAUTHBEARER"]:
        aiokafka(mechanism)


@case
def aiokafka_refused():
    from aiokafka.errors import KafkaError

    for mechanism in [*PASSWORDS, "OAUTHBEARER"]:
        try:
            aiokafka(mechanism, "wrong", bearer="not.a.token")
        except KafkaError:
            continue
        raise AssertionError(f"{mechanism} got in")


def properties(name, mechanism, password=PASSWORD, user="alice"):
    """A file for Kafka's tools."""
    module = {"PLAIN": "plain.PlainLoginModule"}.get(mechanism, "scram.ScramLoginModule")
    file = DIR / f"{unique(name)}.properties"
    quoted = password.replace("\\", "\\\\").replace('"', '\\"')
    lines = [
        "security.protocol=SASL_SSL",
        f"sasl.mechanism={mechanism}",
        "ssl.truststore.type=PEM",
        f"ssl.truststore.location={DIR / 'ca.pem'}",
        f"sasl.jaas.config=org.apache.kafka.common.security.{module} required "
        f'username="{user}" password="{quoted}";',
    ]
    escaped = "".join(c if ord(c) < 128 else f"\\u{ord(c):04x}" for c in "\n".join(lines))
    file.write_text(escaped)
    return file


@case(seconds=300)
def java_tools():
    name = unique("t")
    address = ["--bootstrap-server", BOOTSTRAP]
    for mechanism in PASSWORDS:
        login = properties(mechanism, mechanism)
        command(KT, "TopicCommand", *address,
                "--command-config", login, "--create", "--if-not-exists", "--topic", name)
    command(KT, "ProducerPerformance", "--topic", name, "--num-records", 100, "--record-size", 10,
            "--throughput", -1, "--producer.config", login, "--producer-props",
            f"bootstrap.servers={BOOTSTRAP}")
    got = command(KT, "consumer.ConsoleConsumer", *address, "--topic", name, "--from-beginning",
                  "--max-messages", 100, "--timeout-ms", 30000, "--consumer.config", login)
    # The tool speaks between the records; theirs are single words.
    equal(len([line for line in got.splitlines() if " " not in line]), 100)
    wrong = properties("wrong", "SCRAM-SHA-256", "wrong")
    said = command(KT, "TopicCommand", *address, "--command-config", wrong, "--list", fails=True)
    contains(said, "SaslAuthenticationException", "Authentication failed")


@case(seconds=300)
def java_users():
    login = properties("admin", "SCRAM-SHA-512")
    words = [KT, "kafka.admin.ConfigCommand", "--bootstrap-server", BOOTSTRAP,
             "--command-config", login, "--entity-type", "users", "--entity-name"]
    user = unique("user")
    command(*words, user, "--alter", "--add-config", "SCRAM-SHA-256=[iterations=8192,password=pw]")
    contains(command(*words, user, "--describe"), "SCRAM-SHA-256=iterations=8192")
    there_and_back(settings("SCRAM-SHA-256", "pw", user))
    there_and_back(settings("PLAIN", "pw", user))
    contains(refused(settings("SCRAM-SHA-512", "pw", user)), "_AUTHENTICATION")
    command(*words, user, "--alter", "--delete-config", "SCRAM-SHA-256")
    contains(refused(settings("SCRAM-SHA-256", "pw", user)), "_AUTHENTICATION")


main("security")
