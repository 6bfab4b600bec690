#!/bin/sh
# Checks the proof in this folder with openssl (3.0 or newer) and the usual tools. Exit code 0: it holds.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "WRONG: $1"
    exit 1
}
sha256() { openssl dgst -sha256 -binary; }
encode() { openssl base64 -A; }
# what $1 is the base64 of, in the file $2
decode() {
    printf '%s' "$1" | openssl base64 -d -A >"$2"
    [ "$(encode <"$2")" = "$1" ] || fail "$1 is not base64"
}

# 1. What was decided and what it says of the member are two of the facts whose hashes are listed.
[ "$(sha256 <decision.json | encode)" = "$(head -n 1 facts.txt)" ] || fail "decision.json is not the first fact"
tail -n +2 facts.txt | grep -qxF "$(sha256 <delivery.json | encode)" || fail "delivery.json is none of the facts"

# 2. The entry of the log is the decision's offset and the hash over these hashes.
while read -r line; do
    decode "$line" "$work/fact"
    cat "$work/fact"
done <facts.txt | openssl dgst -sha256 -r | cut -d ' ' -f 1 >"$work/facts"
offset=$(sed 's/.*"offset":\([0-9]*\),"salt":"[0-9a-f]*","topic":"[^"]*"}$/\1/' decision.json)
[ "$(cat entry.txt)" = "$offset $(cat "$work/facts")" ] || fail "entry.txt is not the hash over facts.txt"

# 3. From the entry up to the root of the log (RFC 9162, section 2.1.3.2).
[ "$(head -n 1 proof.txt)" = "c2sp.org/tlog-proof@v1" ] || fail "proof.txt is in another format"
index=$(sed -n '2s/^index \([0-9]*\)$/\1/p' proof.txt)
[ -n "$index" ] || fail "proof.txt has no index"
sed '1,/^$/d' proof.txt >"$work/checkpoint"
size=$(sed -n 2p "$work/checkpoint")
tail -n +3 proof.txt | sed '/^$/,$d' >"$work/hashes"
[ "$index" -lt "$size" ] || fail "the log has no entry $index"
at=$index
last=$((size - 1))
{ printf '\000'; cat entry.txt; } | sha256 >"$work/node"
while read -r line; do
    [ "$last" -gt 0 ] || fail "proof.txt goes on above the root"
    decode "$line" "$work/beside"
    if [ $((at % 2)) -eq 1 ] || [ "$at" -eq "$last" ]; then
        { printf '\001'; cat "$work/beside" "$work/node"; } | sha256 >"$work/above"
        while [ $((at % 2)) -eq 0 ] && [ "$at" -gt 0 ]; do at=$((at / 2)); last=$((last / 2)); done
    else
        { printf '\001'; cat "$work/node" "$work/beside"; } | sha256 >"$work/above"
    fi
    mv "$work/above" "$work/node"
    at=$((at / 2))
    last=$((last / 2))
done <"$work/hashes"
[ "$last" -eq 0 ] || fail "proof.txt ends below the root"
[ "$(encode <"$work/node")" = "$(sed -n 3p "$work/checkpoint")" ] || fail "the entry is not in the log of this root"

# 4. The log's key has signed this root.
sed '/^$/,$d' "$work/checkpoint" >"$work/text"
name=$(cut -d + -f 1 log-key.txt)
[ "$name" = "$(head -n 1 "$work/text")" ] || fail "log-key.txt is the key of another log"
decode "$(cut -d + -f 3- log-key.txt)" "$work/public"
{ printf '%s\n' "$name"; cat "$work/public"; } | sha256 | head -c 4 >"$work/id"
[ "$(od -An -v -tx1 <"$work/id" | tr -d ' ')" = "$(cut -d + -f 2 log-key.txt)" ] || fail "log-key.txt has another id"
decode "$(grep -F -- "— $name " "$work/checkpoint" | cut -d ' ' -f 3)" "$work/line"
head -c 4 "$work/line" | cmp -s - "$work/id" || fail "the checkpoint is signed by another key"
tail -c +5 "$work/line" >"$work/signature"
{ printf '\060\052\060\005\006\003\053\145\160\003\041\000'; tail -c +2 "$work/public"; } >"$work/key"
openssl pkeyutl -verify -pubin -inkey "$work/key" -keyform DER -rawin -in "$work/text" -sigfile "$work/signature" \
    >/dev/null 2>&1 || fail "the checkpoint is not signed by the key in log-key.txt"

echo "The proof holds, if this is the key of the log: $(cat log-key.txt)"
echo "Decided: $(cat decision.json)"
echo "Of one member: $(cat delivery.json)"
