# Helpers of the scripts that start real services without containers; source it. It fetches
# packages by name from their registries once, into one cache outside the working tree, and starts
# and stops processes by pid file. Read next: kafka/up, down.
set -euo pipefail
CACHE=${WATERSHED_SERVICES_CACHE:-$HOME/.cache/watershed-services}
JAVA=java
[ -z "${JAVA_HOME:-}" ] || JAVA=$JAVA_HOME/bin/java
mkdir -p "$CACHE"

# Some poms name a mirror that may be out of reach: every request goes to Maven Central.
maven_settings() {
  local file=$CACHE/maven-central.xml
  [ -s "$file" ] || echo "<settings><mirrors><mirror><id>central</id><mirrorOf>*</mirrorOf>\
<url>https://repo.maven.apache.org/maven2</url></mirror></mirrors></settings>" > "$file"
  echo "$file"
}

# jars NAME POM: prints the folder that holds the jars POM names. The folder's name carries the
# pom's hash, so that two versions of a pom never share one.
jars() {
  local home
  home=$CACHE/$1-$(sha256sum < "$2" | cut -c1-12)
  if [ ! -e "$home/.ok" ]; then
    command -v mvn >/dev/null || { echo "missing program: mvn (Debian: maven)" >&2; return 1; }
    echo "fetching the jars of $1" >&2
    rm -rf "$home"
    mvn -q -B -s "$(maven_settings)" -f "$2" \
      org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
      -DoutputDirectory="$home" -DincludeScope=runtime >&2
    touch "$home/.ok"
  fi
  echo "$home"
}

# venv NAME REQUIREMENTS: prints a Python environment with the packages pinned there.
venv() {
  local home
  home=$CACHE/$1-$(sha256sum < "$2" | cut -c1-12)
  if [ ! -e "$home/.ok" ]; then
    echo "fetching the Python packages of $1" >&2
    rm -rf "$home"
    python3 -m venv "$home"
    "$home/bin/pip" -q install -r "$2" >&2
    touch "$home/.ok"
  fi
  echo "$home"
}

# Below the ports that the system gives to outgoing connections: a client that waits for a server
# to come back must not be given the server's port.
free_port() {
  python3 - <<'END'
import random, socket
while True:
    try:
        with socket.create_server(("127.0.0.1", random.randrange(20000, 32000))) as s:
            print(s.getsockname()[1])
            break
    except OSError:
        pass
END
}

alive() { [ -s "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }

port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# launch PIDFILE LOG COMMAND…: in a session of its own, so that pid = process group.
launch() {
  local pid=$1 log=$2
  shift 2
  alive "$pid" && return 0
  setsid nohup "$@" >>"$log" 2>&1 </dev/null &
  echo $! > "$pid"
}

# wait_for SECONDS PIDFILE LOG COMMAND…: until COMMAND succeeds; fails when the process dies.
wait_for() {
  local limit=$((SECONDS + $1)) pid=$2 log=$3
  shift 3
  until "$@" >/dev/null 2>&1; do
    alive "$pid" || { echo "died; see $log" >&2; tail -20 "$log" >&2; return 1; }
    [ $SECONDS -lt $limit ] || { echo "timeout; see $log" >&2; tail -20 "$log" >&2; return 1; }
    sleep 0.2
  done
}
