// Command tlog is the other side of tests/interop/test_tlog.py: what we write is judged, and read, by code that is not ours.
//
//	tlog judge              reads questions from stdin, one JSON object a line; answers each with "ok" or what is wrong
//	tlog fsck FOLDER KEY    checks a whole log in a folder, as Tessera does
//	tlog make               writes keys, a cosigned checkpoint and a proof, for us to read
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/transparency-dev/formats/log"
	cosign "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/formats/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type question struct {
	Kind    string
	Size    int64
	Root    tlog.Hash
	Index   int64
	Leaf    tlog.Hash
	OldSize int64
	OldRoot tlog.Hash
	Proof   []tlog.Hash
	Text    string
	Entry   []byte
	Keys    []string // all of them must have signed
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 1 && args[0] == "judge":
		return judgeAll()
	case len(args) == 3 && args[0] == "fsck":
		return check(args[1], args[2])
	case len(args) == 1 && args[0] == "make":
		return makeExample()
	}
	return errors.New("usage: tlog judge | tlog fsck FOLDER KEY | tlog make")
}

// -- judging ----------------------------------------------------------------------------------------------------------

func judgeAll() error {
	questions := json.NewDecoder(bufio.NewReader(os.Stdin))
	answers := bufio.NewWriter(os.Stdout)
	for questions.More() {
		var q question
		if err := questions.Decode(&q); err != nil {
			return err
		}
		answer := "ok"
		if err := judge(q); err != nil {
			answer = strings.ReplaceAll(err.Error(), "\n", " ")
		}
		fmt.Fprintln(answers, answer)
	}
	return answers.Flush()
}

func judge(q question) error {
	switch q.Kind {
	case "record":
		return tlog.CheckRecord(q.Proof, q.Size, q.Root, q.Index, q.Leaf)
	case "tree":
		return tlog.CheckTree(q.Proof, q.Size, q.Root, q.OldSize, q.OldRoot)
	case "note":
		_, err := open([]byte(q.Text), q.Keys)
		return err
	case "proof":
		return judgeProof(q)
	}
	return fmt.Errorf("unknown kind %q", q.Kind)
}

// open is sumdb/note's Open, where every key must have signed.
func open(signed []byte, keys []string) (log.Checkpoint, error) {
	var verifiers []note.Verifier
	for _, key := range keys {
		verifier, err := cosign.NewVerifier(key)
		if err != nil {
			return log.Checkpoint{}, fmt.Errorf("key %q: %w", key, err)
		}
		verifiers = append(verifiers, verifier)
	}
	opened, err := note.Open(signed, note.VerifierList(verifiers...))
	if err != nil {
		return log.Checkpoint{}, err
	}
	if len(opened.Sigs) != len(keys) {
		return log.Checkpoint{}, fmt.Errorf("signed by %d of %d keys", len(opened.Sigs), len(keys))
	}
	var checkpoint log.Checkpoint
	rest, err := checkpoint.Unmarshal([]byte(opened.Text))
	if err == nil && len(rest) > 0 {
		err = errors.New("more than a checkpoint")
	}
	return checkpoint, err
}

func judgeProof(q question) error {
	var p proof.TLogProof
	if err := p.Unmarshal([]byte(q.Text)); err != nil {
		return err
	}
	if again := string(p.Marshal()); again != q.Text {
		return fmt.Errorf("would be written otherwise: %q", again)
	}
	checkpoint, err := open(p.Checkpoint, q.Keys)
	if err != nil {
		return err
	}
	var hashes tlog.RecordProof
	for _, hash := range p.Hashes {
		hashes = append(hashes, hash)
	}
	size, root := int64(checkpoint.Size), tlog.Hash(checkpoint.Hash)
	return tlog.CheckRecord(hashes, size, root, int64(p.Index), tlog.RecordHash(q.Entry))
}

// -- a whole log ------------------------------------------------------------------------------------------------------

func check(folder, key string) error {
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return err
	}
	files := &client.FileFetcher{Root: folder}
	// a worker ends at the first file that is wrong, and Check waits for ever when all have; one bit spoils four files at most
	return fsck.New(verifier.Name(), verifier, files, leaves, fsck.Opts{N: 8}).Check(context.Background())
}

func leaves(bundle []byte) ([][]byte, error) {
	var entries api.EntryBundle
	if err := entries.UnmarshalText(bundle); err != nil {
		return nil, err
	}
	var hashes [][]byte
	for _, entry := range entries.Entries {
		hashes = append(hashes, rfc6962.DefaultHasher.HashLeaf(entry))
	}
	return hashes, nil
}

// -- an example for us ------------------------------------------------------------------------------------------------

func makeExample() error {
	const size, index = 11, 4
	var stored []tlog.Hash
	read := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var found []tlog.Hash
		for _, at := range indexes {
			found = append(found, stored[at])
		}
		return found, nil
	})
	for n := range int64(size) {
		hashes, err := tlog.StoredHashes(n, fmt.Appendf(nil, "entry %d", n), read)
		if err != nil {
			return err
		}
		stored = append(stored, hashes...)
	}
	root, err := tlog.TreeHash(size, read)
	if err != nil {
		return err
	}
	hashes, err := tlog.ProveRecord(size, index, read)
	if err != nil {
		return err
	}
	logSigner, logKey, err := newSigner("go.example/log", func(secret string) (note.Signer, error) { return note.NewSigner(secret) })
	if err != nil {
		return err
	}
	witness, witnessKey, err := newSigner("go.example/witness", func(secret string) (note.Signer, error) {
		return cosign.NewSignerForCosignatureV1(secret)
	})
	if err != nil {
		return err
	}
	if witnessKey, err = cosign.VKeyToCosignatureV1(witnessKey); err != nil {
		return err
	}
	head := log.Checkpoint{Origin: logSigner.Name(), Size: size, Hash: root[:]}
	signed, err := note.Sign(&note.Note{Text: string(head.Marshal())}, logSigner, witness)
	if err != nil {
		return err
	}
	p := proof.TLogProof{Index: index, Checkpoint: signed, ExtraData: []byte("extra")}
	for _, hash := range hashes {
		p.Hashes = append(p.Hashes, hash)
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]string{
		"log": logKey, "witness": witnessKey, "proof": string(p.Marshal()), "entry": fmt.Sprintf("entry %d", index),
	})
}

func newSigner(name string, load func(string) (note.Signer, error)) (note.Signer, string, error) {
	secret, public, err := note.GenerateKey(nil, name)
	if err != nil {
		return nil, "", err
	}
	signer, err := load(secret)
	return signer, public, err
}
