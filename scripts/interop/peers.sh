# The peers of the RPC suites: installs them with npm, pip, go and mvn into a folder of their own ($RINGWAY_PEERS, default
# ~/.cache/ringway/rpc-peers) where they are not yet. To be sourced, with $here the folder of this file. What is there afterwards has its
# command in $node, $python, $tars_go, $java_dubbo, $java_sofa; the reason why one is not there is said.
peers=${RINGWAY_PEERS:-${XDG_CACHE_HOME:-$HOME/.cache}/ringway/rpc-peers}
mkdir -p "$peers"
node= python= java_dubbo= java_sofa= tars_go=

install_node() {
    command -v npm >/dev/null || { echo "left out: npm is not there"; return; }
    set -- sofa-rpc-node@2.10.0 sofa-bolt-node@2.0.1 dubbo-remoting@2.1.4 dubbo2.js@2.3.9 apache-dubbo-js@3.0.0-rc6 @tars/rpc@2.0.15 @tars/stream@2.0.3 \
        @apachedubbo/dubbo@3.0.0-alpha @apachedubbo/dubbo-node@3.0.0-alpha hessian.js@2.11.0
    if [ "$(cat "$peers/node/ready" 2>/dev/null)" != "$*" ]; then
        mkdir -p "$peers/node"
        npm --prefix "$peers/node" install --no-audit --no-fund --ignore-scripts "$@" >"$peers/node.log" 2>&1 \
            || { echo "left out: npm install failed ($peers/node.log)"; return; }
        echo "$*" >"$peers/node/ready"
    fi
    node=node
    export NODE_PATH="$peers/node/node_modules"
}

install_python() {
    command -v python3 >/dev/null || { echo "left out: python3 is not there"; return; }
    if [ ! -e "$peers/python/ready" ]; then
        { python3 -m venv "$peers/python" && "$peers/python/bin/pip" install --quiet setuptools==65.5.0 anthunder==0.8.1 dubbo-py==0.2.2 \
            dubbo-ssl-python==0.9.6 thrift==0.25.0 thriftpy2==0.7.1; } >"$peers/python.log" 2>&1 \
            || { echo "left out: pip install failed ($peers/python.log)"; return; }
        touch "$peers/python/ready"
    fi
    python=$peers/python/bin/python
}

install_go() {
    command -v go >/dev/null || { echo "left out: go is not there"; return; }
    mkdir -p "$peers/go"
    if ! cmp -s "$here/rpc/tars_peer.go" "$peers/go/tars_peer.go" || [ ! -x "$peers/go/tars_peer" ]; then
        cp "$here/rpc/tars_peer.go" "$peers/go/"
        rm -f "$peers/go/tars_peer"
        (
            cd "$peers/go"
            { [ -e go.mod ] || go mod init peers; } && go get github.com/TarsCloud/TarsGo/tars@v1.4.5 && go build -o tars_peer tars_peer.go
        ) >"$peers/go.log" 2>&1 || { echo "left out: TarsGo ($peers/go.log)"; return; }
    fi
    tars_go=$peers/go/tars_peer
}

# A folder with this jar and what it needs, and the classes of the peer of that name: NAME ARTIFACT CLASS.
install_java() {
    to=$peers/$1
    if [ ! -e "$to/ready" ]; then
        mkdir -p "$to"
        {
            echo '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
            echo "<groupId>peers</groupId><artifactId>peers</artifactId><version>1</version><dependencies>"
            echo "$2" | sed 's|\(.*\):\(.*\):\(.*\)|<dependency><groupId>\1</groupId><artifactId>\2</artifactId><version>\3</version></dependency>|'
            echo '</dependencies></project>'
        } >"$to/pom.xml"
        (cd "$to" && mvn -q -B dependency:copy-dependencies -DoutputDirectory=lib) >"$to.log" 2>&1 || return 1
        touch "$to/ready"
    fi
    # Each state of the files has its classes: a run that is under way keeps its own.
    sources="Check Basics EchoService Echo Users $3"
    # shellcheck disable=SC2086
    classes=$to/classes-$(cd "$here/rpc" && cat $(printf '%s.java ' $sources) | cksum | cut -d' ' -f1)
    [ ! -e "$classes/ready" ] || return 0
    mkdir -p "$classes"
    # shellcheck disable=SC2046,SC2086
    (cd "$here/rpc" && javac -encoding UTF-8 -nowarn -cp "$to/lib/*" -d "$classes" $(printf '%s.java ' $sources)) >"$to.javac.log" 2>&1 && touch "$classes/ready"
}

install_jvm() {
    # Quick to start rather than quick in the end; and Bolt's own heartbeats so often that calls of some seconds see them.
    java="java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Djava.net.preferIPv4Stack=true -Dbolt.tcp.heartbeat.interval=700"
    command -v mvn >/dev/null && command -v javac >/dev/null || { echo "left out: mvn or javac is not there"; return; }
    if install_java dubbo org.apache.dubbo:dubbo:3.3.6 DubboPeer; then
        java_dubbo="$java -cp $classes:$peers/dubbo/lib/*"
    else
        echo "left out: Dubbo for Java ($peers/dubbo.log, $peers/dubbo.javac.log)"
    fi
    if install_java sofa com.alipay.sofa:sofa-rpc-all:5.13.2 SofaPeer; then
        java_sofa="$java --add-opens=java.base/java.lang=ALL-UNNAMED -cp $classes:$peers/sofa/lib/*"
    else
        echo "left out: SOFARPC for Java ($peers/sofa.log, $peers/sofa.javac.log)"
    fi
}
