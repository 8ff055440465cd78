# Real clients against the servers of relay_clients.rs: what each prints, and how it ends.
#
# $A is the address. About 10,600 connections, and those of wrk, which makes as many as it can.
step() {
    echo "== $1"
    bash -o pipefail -c "$1"
    echo "ends with $?"
}
export PATH=/usr/sbin:$PATH

for file in empty one page big; do
    step "curl -q -sS http://$A:8080/$file | sha256sum"
    step "wget --no-config -qO- http://$A:8080/$file | sha256sum"
done
step "curl -q -sS -o /dev/null -w '%{http_code} %{size_download}' http://$A:8080/none"
# A connection for each of 5,000 requests.
step "for i in 1 2 3 4 5; do seq 1000 | sed 's|.*|url = http://$A:8080/page?&\\noutput = /dev/null|' |
    curl -q -sS --no-progress-meter --parallel --parallel-max 20 -H 'Connection: close' \
        -w '%{http_code} %{size_download}\\n' -K - | sort | uniq -c; done"
step "python3 -c \"import urllib.request as u, hashlib
print([hashlib.md5(u.urlopen('http://$A:8080/page').read()).hexdigest() for _ in range(500)])\""
# How many requests it makes is its own affair; errors are not.
step "wrk -t2 -c32 -d1s -H 'Connection: close' http://$A:8080/page | { grep -i 'error\\|non-2xx' || true; }"
step "wrk -t2 -c64 -d1s http://$A:8080/page | { grep -i 'error\\|non-2xx' || true; }"

step "d=\$(mktemp -d); git clone -q http://$A:8080/r.git \$d/c && (cd \$d/c && git log --format=%H && sha256sum *)
    s=\$?; rm -rf \$d; exit \$s"

step "for i in \$(seq 20); do printf 'GET /\\r\\n' | openssl s_client -quiet -connect $A:4433 2>/dev/null |
    grep -c 'TLSv1.3'; done"

# The server takes one test at a time, and says so to who comes too early.
for direction in '' -R '-P 4' --bidir; do
    step "while out=\$(iperf3 -c $A -n 50M $direction 2>&1); s=\$?; [[ \$out == *busy* ]]; do sleep 0.2; done
        [ \$s = 0 ] || echo \"\$out\"; exit \$s"
done

# 5,000 connections with a request each, then pipelines.
step "redis-benchmark -h $A -k 0 -c 20 -n 5000 -t incr -q > /dev/null && redis-cli -h $A getset counter:__rand_int__ 0"
step "redis-benchmark -h $A -c 50 -P 16 -n 100000 -t incr -q > /dev/null && redis-cli -h $A getset counter:__rand_int__ 0"
