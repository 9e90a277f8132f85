"""What all cases share: each runs in a process of its own with a time limit, and says one line.

A client's folder holds `cases.py`, whose functions marked `@case` are its cases; `main(client)`
runs those named on the command line, or all. Read next: `kcat/cases.py`, the shortest one.
"""

import atexit
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

BOOTSTRAP = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:9092"
RUN = os.environ.get("WATERSHED_CLIENTS_RUN") or f"{time.time_ns() // 1_000_000 % 10**9:x}"
CLIENTS = Path(__file__).resolve().parent
SERVICES = CLIENTS.parent / "services"
KT = SERVICES / "kafka" / "kt"

# Create times of records are near it: what is older than a topic's retention may be deleted.
HOUR_AGO = time.time_ns() // 1_000_000 - 3_600_000

_cases = {}
_seconds = {}
_client = _current = "none"


def case(function=None, seconds=60):
    """Marks a case; `seconds` is its time limit."""

    def mark(f):
        _cases[f.__name__] = f
        _seconds[f.__name__] = seconds
        return f

    return mark(function) if function else mark


def unique(part):
    """A name no other case, client or run uses."""
    return f"{_client}-{part}-{_current.replace('_', '-')}-{RUN}"


def equal(got, want, what="result"):
    if got != want:
        raise AssertionError(f"{what}\n   got: {short(got)}\n  want: {short(want)}")


def contains(text, *parts):
    for part in parts:
        if part not in text:
            raise AssertionError(f"{part!r} is missing in\n{short(text)}")


def short(value):
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) < 3000 else f"{text[:1500]} … {text[-1500:]}"


def eventually(probe, want, seconds=15, what="result"):
    """Waits until probe() answers `want`: for what a broker may show a moment later."""
    end = time.monotonic() + seconds
    while (got := probe()) != want and time.monotonic() < end:
        time.sleep(0.2)
    equal(got, want, what)


def command(*words, stdin=None, seconds=100, fails=False, quiet=False):
    """Runs a program; answers its stdout. With `fails`, it must fail, and its stderr is added."""
    if not quiet:
        print("$", *words, flush=True)
    done = subprocess.run(
        [str(w) for w in words], input=stdin, text=True, timeout=seconds,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )
    if (done.returncode != 0) != fails:
        raise AssertionError(f"exit code {done.returncode}\n{short(done.stdout + done.stderr)}")
    if not quiet:
        print(short(done.stdout), short(done.stderr), flush=True)
    return done.stdout + done.stderr if fails else done.stdout


def jars(client):
    """The folder with the jars a client's pom.xml names; fetched once."""
    script = f'. "{SERVICES}/lib.sh"; jars clients-{client} "{CLIENTS}/{client}/pom.xml"'
    return command("bash", "-c", script, seconds=600, quiet=True).strip()


def venv(client):
    """The Python environment a client's requirements.txt names; made once."""
    script = f'. "{SERVICES}/lib.sh"; venv clients-{client} "{CLIENTS}/{client}/requirements.txt"'
    return command("bash", "-c", script, seconds=900, quiet=True).strip()


def java_program(client, *options):
    """Compiles a client's Cases.java; answers the words that run it."""
    home = os.environ.get("JAVA_HOME")
    place = f"{home}/bin/" if home else ""
    classes = tempfile.TemporaryDirectory()
    atexit.register(classes.cleanup)
    libraries = f"{jars(client)}/*"
    source = CLIENTS / client / "Cases.java"
    command(f"{place}javac", "-cp", libraries, "-d", classes.name, source, quiet=True)
    return [f"{place}java", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            *options, "-cp", f"{classes.name}:{libraries}", "Cases", BOOTSTRAP, RUN]


def admin():
    from confluent_kafka.admin import AdminClient

    return AdminClient({"bootstrap.servers": BOOTSTRAP})


def topic(part="topic", partitions=1, **config):
    """Creates a topic and answers its name."""
    from confluent_kafka.admin import NewTopic

    name = unique(part)
    config = {k.replace("_", "."): str(v) for k, v in config.items()}
    new = NewTopic(name, num_partitions=partitions, replication_factor=1, config=config)
    client = admin()  # a client nobody holds is closed at once
    client.create_topics([new])[name].result(20)
    return name


def settled(name, partitions=1, seconds=10):
    """Waits until no transaction is open: the markers may follow the answer to a commit."""
    from confluent_kafka import IsolationLevel, TopicPartition
    from confluent_kafka.admin import OffsetSpec

    client = admin()

    def ends(level):
        asked = {TopicPartition(name, p): OffsetSpec.latest() for p in range(partitions)}
        found = client.list_offsets(asked, isolation_level=level)
        return sorted((t.partition, f.result(10).offset) for t, f in found.items())

    def both():
        return ends(IsolationLevel.READ_COMMITTED) == ends(IsolationLevel.READ_UNCOMMITTED)

    eventually(both, True, seconds, f"no transaction is open in {name}")


def _child(function, log):
    os.setsid()
    fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    try:
        function()
    except BaseException:
        traceback.print_exc()
        sys.stdout.flush()
        os._exit(1)
    sys.stdout.flush()
    os._exit(0)


def _run(name, log):
    global _current
    _current = name
    with open(log, "a") as f:
        print(f"\n===== {name}", file=f)
    start = time.monotonic()
    child = multiprocessing.get_context("fork").Process(target=_child, args=(_cases[name], log))
    child.start()
    child.join(_seconds[name])
    if child.exitcode is None:
        with open(log, "a") as f:
            print(f"still running after {_seconds[name]} seconds", file=f)
    try:
        os.killpg(child.pid, 9)  # what the case started has to end with it
    except ProcessLookupError:
        pass
    child.join()
    return child.exitcode == 0, time.monotonic() - start


def main(client):
    global _client
    _client = client
    names = sys.argv[2:] or list(_cases)
    unknown = [n for n in names if n not in _cases]
    if unknown:
        sys.exit(f"{client} has no case {', '.join(unknown)}; it has {', '.join(_cases)}")
    log = os.path.join(os.environ.get("WATERSHED_CLIENTS_LOGS", "."), f"{client}.log")
    open(log, "w").close()
    failed = 0
    for name in names:
        good, seconds = _run(name, log)
        failed += not good
        print(f"{'ok    ' if good else 'FAILED'} {client}/{name} {seconds:.1f}", flush=True)
    if failed:
        print(f"       log: {log}", flush=True)
    else:
        os.remove(log)
    sys.exit(1 if failed else 0)
