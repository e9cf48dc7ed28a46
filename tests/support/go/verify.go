// What Go's crypto/x509 and net/url make of our certificates, requests and names: one JSON question a line, one answer a line.
package main

import (
	"bufio"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/url"
	"os"
	"time"
)

type question struct {
	Kind    string `json:"kind"`
	Leaf    string `json:"leaf"`
	Between string `json:"between"`
	Root    string `json:"root"`
	Purpose string `json:"purpose"`
	At      int64  `json:"at"`
	Der     string `json:"der"`
	Text    string `json:"text"`
}

func pool(text string) (*x509.CertPool, error) {
	found := x509.NewCertPool()
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return found, nil
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return found, err
		}
		found.AddCert(certificate)
	}
}

func chain(asked question) error {
	block, _ := pem.Decode([]byte(asked.Leaf))
	if block == nil {
		return fmt.Errorf("no leaf")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return err
	}
	roots, err := pool(asked.Root)
	if err != nil {
		return err
	}
	between, err := pool(asked.Between)
	if err != nil {
		return err
	}
	usage := map[string]x509.ExtKeyUsage{
		"sslclient": x509.ExtKeyUsageClientAuth,
		"sslserver": x509.ExtKeyUsageServerAuth,
		"any":       x509.ExtKeyUsageAny,
	}[asked.Purpose]
	options := x509.VerifyOptions{Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{usage}}
	if asked.At != 0 {
		options.CurrentTime = time.Unix(asked.At, 0)
	}
	_, err = leaf.Verify(options)
	return err
}

func request(asked question) error {
	der, err := base64.StdEncoding.DecodeString(asked.Der)
	if err != nil {
		return err
	}
	found, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return err
	}
	return found.CheckSignature()
}

func id(asked question) error {
	found, err := url.Parse(asked.Text)
	if err != nil {
		return err
	}
	if found.Scheme != "spiffe" || found.User != nil || found.Port() != "" || found.RawQuery != "" || found.Fragment != "" {
		return fmt.Errorf("read as %q", found.String())
	}
	if "spiffe://"+found.Hostname()+found.EscapedPath() != asked.Text {
		return fmt.Errorf("host %q path %q", found.Hostname(), found.Path)
	}
	return nil
}

func main() {
	kinds := map[string]func(question) error{"chain": chain, "csr": request, "id": id}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for lines.Scan() {
		var asked question
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			panic(err)
		}
		if err := kinds[asked.Kind](asked); err != nil {
			fmt.Fprintf(out, "%q\n", err.Error())
			continue
		}
		fmt.Fprintln(out, "OK")
	}
}
