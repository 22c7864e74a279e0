#!/bin/bash
# What socket buffers do to one connection through a pair of gateways over a long line.
#
#   bench/wan.sh RATE ONE-WAY-MS SIZE [FOLDER-OF-PROGRAMS]      for example: bench/wan.sh 1gbit 10 256MiB
#
# Two network namespaces, joined by a LAN and by a WAN with this rate and delay in each direction (netem). The generator and
# the originating gateway are in one, the terminating gateway in the other, and all bytes cross the WAN in TLS. Five transfers
# with the defaults of Linux and five with the buffers that `wardgate tune` wants for this line, in turn; MB/s of each, then
# the median. Needs root, a kernel with netem, iproute2, ethtool and jq. Nothing outside the namespaces is changed.
set -euo pipefail
rate=${1:?usage: bench/wan.sh RATE ONE-WAY-MS SIZE [FOLDER]} half=$2 size=$3 programs=$(realpath "${4:-target/release}")
work=$(mktemp -d); a=wga$$ b=wgb$$; gateways=()
end() {
  for gateway in "${gateways[@]}"; do kill "$gateway" 2>/dev/null || true; done
  wait; ip netns del "$a" 2>/dev/null || true; ip netns del "$b" 2>/dev/null || true; rm -rf "$work"
}
trap end EXIT
both() { for namespace in "$a" "$b"; do ip netns exec "$namespace" "$@"; done; }

ip netns add "$a"; ip netns add "$b"
for link in "wan 192.0.2" "lan 10.9.0"; do
  read -r name net <<<"$link"
  ip link add "$name" netns "$a" type veth peer name "$name" netns "$b"
  ip -n "$a" addr add "$net.1/24" dev "$name"; ip -n "$b" addr add "$net.2/24" dev "$name"
  ip -n "$a" link set "$name" up; ip -n "$b" link set "$name" up
done
both ip link set lo up
both tc qdisc add dev wan root netem delay "${half}ms" rate "$rate" limit 100000
both ethtool -K wan gro on                                # as on a network card

site() { # NAME OTHER MODE LISTEN TARGET
  "$programs/wardgate" pki init --dir "$work/ca-$1" --name "CA $1" >/dev/null
  "$programs/wardgate" pki issue --dir "$work/ca-$1" --dns "gw.$1.example" --out "$work/$1.pem" --key-out "$work/$1.key" >/dev/null
  cat >"$work/$1.toml" <<TOML
[gateway]
cores = [0]
[identity]
certificate = "$work/$1.pem"
key = "$work/$1.key"
[[peer]]
name = "other"
identity = "dns:gw.$2.example"
trust = "$work/ca-$2/ca.pem"
[[route]]
name = "bulk"
mode = "$3"
protocol = "tcp"
listen = "$4"
targets = ["$5"]
peers = ["other"]
TOML
}
site a b originate 127.0.0.1:11112 192.0.2.2:2762
site b a terminate 192.0.2.2:2762 10.9.0.1:104
for name in a b; do
  ip netns exec "${!name}" "$programs/wardgate" run --config "$work/$name.toml" 2>"$work/$name.log" & gateways+=($!)
done
sleep 1

transfer() { # one connection; prints MB/s
  ip netns exec "$a" "$programs/wardgate-bench" --json bulk --connect 127.0.0.1:11112 --listen 10.9.0.1:104 \
    --size "$size" --count-only | jq '.gigabytes_per_second * 10000 | round / 10'
}
buffers() { both sysctl -qw "net.ipv4.tcp_rmem=4096 131072 $1" "net.ipv4.tcp_wmem=4096 16384 $2"; }
median() { echo "$1: $(sort -n "$2" | tr '\n' ' ')MB/s, median $(sort -n "$2" | sed -n 3p)"; }
wanted=$("$programs/wardgate" tune check --json --profile 1g --wan "${rate%bit}" --rtt "$((2 * half))ms" | jq .buffer_bytes || true)
echo "WAN of $rate, round trip $((2 * half)) ms, $size through one connection, kernel $(uname -r)"
for _ in 1 2 3 4 5; do                                    # in turn, so that a busy machine slows both
  buffers 6291456 4194304; transfer >>"$work/defaults"
  buffers "$wanted" "$wanted"; transfer >>"$work/tuned"
done
median "defaults (6 MiB and 4 MiB)" "$work/defaults"
median "tuned ($((wanted >> 20)) MiB)" "$work/tuned"
