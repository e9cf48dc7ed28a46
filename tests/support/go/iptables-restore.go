// iptables-restore where there is no iptables: reads the rules of one nat table and has the kernel's nf_tables do them, over
// netlink, as iptables-nft does. It knows the words that `isthmus redirect` writes and refuses every other.
// Called as ip6tables-restore it does the same for IPv6. Source: uapi/linux/netfilter/nf_tables.h.
package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const (
	netfilter                      = 12
	batchBegin, batchEnd           = 0x10, 0x11
	subsystem                      = 10 << 8
	newTable, newChain, newRule    = 0, 3, 6
	deleteRule                     = 8
	verdictJump, verdictReturn     = -3, -5
	metaOutput, metaUser, metaTCP  = 7, 10, 16
	baseNetwork, baseTransport     = 1, 2
	compareEqual, compareDifferent = 0, 1
)

var hooks = map[string]uint32{"PREROUTING": 0, "OUTPUT": 3}

func main() {
	if err := restore(strings.HasPrefix(filepath.Base(os.Args[0]), "ip6")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func restore(isSix bool) error {
	if len(os.Args) != 2 || os.Args[1] != "--noflush" {
		return errors.New("only --noflush is known")
	}
	batch := &batch{family: syscall.AF_INET}
	if isSix {
		batch.family = syscall.AF_INET6
	}
	batch.add(batchBegin, 0, 0, nil)
	lines := bufio.NewScanner(os.Stdin)
	isWhole := false
	for at := 1; lines.Scan(); at++ {
		words := strings.Fields(lines.Text())
		if err := batch.line(words); err != nil {
			return fmt.Errorf("line %d: %w: %s", at, err, lines.Text())
		}
		isWhole = len(words) == 1 && words[0] == "COMMIT"
	}
	if !isWhole {
		return errors.New("there is no COMMIT")
	}
	batch.add(batchEnd, 0, 0, nil)
	return batch.send()
}

type batch struct {
	family byte
	bytes  []byte
	count  uint32
}

func (b *batch) line(words []string) error {
	switch {
	case len(words) == 0 || words[0] == "COMMIT":
		return nil
	case words[0] == "*nat" && len(words) == 1:
		b.add(subsystem|newTable, syscall.NLM_F_CREATE, b.family, text(1, "nat"))
		for name, hook := range hooks {
			const beforeOthers = 0xffffff9c // -100
			place := append(number(1, hook), number(2, beforeOthers)...)
			chain := append(append(text(1, "nat"), text(3, name)...), nested(4, place)...)
			b.add(subsystem|newChain, syscall.NLM_F_CREATE, b.family, append(append(chain, number(5, 1)...), text(7, "nat")...))
		}
		return nil
	case strings.HasPrefix(words[0], ":") && len(words) == 3 && words[1] == "-":
		chain := words[0][1:]
		b.add(subsystem|newChain, syscall.NLM_F_CREATE, b.family, append(text(1, "nat"), text(3, chain)...))
		// What it had is gone.
		b.add(subsystem|deleteRule, 0, b.family, append(text(1, "nat"), text(2, chain)...))
		return nil
	case words[0] == "-A" && len(words) > 2:
		expressions, err := b.rule(words[2:])
		if err != nil {
			return err
		}
		rule := append(append(text(1, "nat"), text(2, words[1])...), nested(4, expressions)...)
		b.add(subsystem|newRule, syscall.NLM_F_CREATE|syscall.NLM_F_APPEND, b.family, rule)
		return nil
	}
	return errors.New("not understood")
}

func (b *batch) rule(words []string) (all []byte, err error) {
	isTCP := false
	for len(words) > 0 {
		operation := uint32(compareEqual)
		if words[0] == "!" {
			operation, words = compareDifferent, words[1:]
		}
		if len(words) < 2 {
			return nil, errors.New("a value is missing")
		}
		word, value := words[0], words[1]
		words = words[2:]
		switch word {
		case "-p":
			isTCP = value == "tcp"
			if !isTCP {
				return nil, errors.New("only TCP is known")
			}
			all = append(all, append(meta(metaTCP), compare(operation, []byte{syscall.IPPROTO_TCP})...)...)
		case "-m":
			if value != "owner" {
				return nil, errors.New("no such match")
			}
		case "--uid-owner":
			user, err := strconv.ParseUint(value, 10, 32)
			if err != nil {
				return nil, err
			}
			all = append(all, append(meta(metaUser), compare(operation, binary.NativeEndian.AppendUint32(nil, uint32(user)))...)...)
		case "-o":
			device := make([]byte, 16)
			copy(device, value)
			all = append(all, append(meta(metaOutput), compare(operation, device)...)...)
		case "--dport":
			port, err := portOf(value)
			if err != nil || !isTCP {
				return nil, errors.New("no port, or of no protocol")
			}
			all = append(all, append(payload(baseTransport, 2, 2), compare(operation, port)...)...)
		case "-s", "-d":
			address, err := b.address(word == "-d", operation, value)
			if err != nil {
				return nil, err
			}
			all = append(all, address...)
		case "-j":
			return b.target(all, isTCP, value, words)
		default:
			return nil, fmt.Errorf("%s is not known", word)
		}
	}
	return nil, errors.New("it leads nowhere")
}

func (b *batch) target(all []byte, isTCP bool, name string, words []string) ([]byte, error) {
	switch {
	case name == "REDIRECT" && len(words) == 2 && words[0] == "--to-ports" && isTCP:
		port, err := portOf(words[1])
		if err != nil {
			return nil, err
		}
		load := append(number(1, 1), nested(2, attribute(1, port))...)
		return append(append(all, expression("immediate", load)...), expression("redir", number(1, 1))...), nil
	case len(words) > 0:
		return nil, errors.New("words after the target")
	case name == "RETURN":
		return append(all, verdict(verdictReturn, nil)...), nil
	default:
		return append(all, verdict(verdictJump, text(2, name))...), nil
	}
}

func (b *batch) address(isTarget bool, operation uint32, value string) ([]byte, error) {
	prefix, err := netip.ParsePrefix(value)
	if err != nil || prefix.Addr().Is6() != (b.family == syscall.AF_INET6) {
		return nil, errors.New("no prefix of this family")
	}
	length, source, target := uint32(4), uint32(12), uint32(16)
	if prefix.Addr().Is6() {
		length, source, target = 16, 8, 24
	}
	offset := source
	if isTarget {
		offset = target
	}
	mask, nothing := make([]byte, length), make([]byte, length)
	for bit := 0; bit < prefix.Bits(); bit++ {
		mask[bit/8] |= 0x80 >> (bit % 8)
	}
	masked := append(append(number(1, 1), number(2, 1)...), number(3, length)...)
	masked = append(append(masked, nested(4, attribute(1, mask))...), nested(5, attribute(1, nothing))...)
	all := append(payload(baseNetwork, offset, length), expression("bitwise", masked)...)
	return append(all, compare(operation, prefix.Masked().Addr().AsSlice())...), nil
}

func portOf(text string) ([]byte, error) {
	port, err := strconv.ParseUint(text, 10, 16)
	return binary.BigEndian.AppendUint16(nil, uint16(port)), err
}

func meta(key uint32) []byte { return expression("meta", append(number(1, 1), number(2, key)...)) }

func payload(base, offset, length uint32) []byte {
	where := append(append(number(1, 1), number(2, base)...), number(3, offset)...)
	return expression("payload", append(where, number(4, length)...))
}

func compare(operation uint32, value []byte) []byte {
	return expression("cmp", append(append(number(1, 1), number(2, operation)...), nested(3, attribute(1, value))...))
}

func verdict(code int32, more []byte) []byte {
	said := nested(2, append(number(1, uint32(code)), more...))
	return expression("immediate", append(number(1, 0), nested(2, said)...))
}

func expression(name string, data []byte) []byte {
	return nested(1, append(text(1, name), nested(2, data)...))
}

func text(kind uint16, value string) []byte { return attribute(kind, append([]byte(value), 0)) }

func number(kind uint16, value uint32) []byte {
	return attribute(kind, binary.BigEndian.AppendUint32(nil, value))
}

func nested(kind uint16, value []byte) []byte { return attribute(kind|0x8000, value) }

func attribute(kind uint16, value []byte) []byte {
	head := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	return append(append(binary.NativeEndian.AppendUint16(head, kind), value...), make([]byte, -len(value)&3)...)
}

func (b *batch) add(kind uint16, flags uint16, family byte, body []byte) {
	message := binary.NativeEndian.AppendUint32(nil, uint32(20+len(body)))
	message = binary.NativeEndian.AppendUint16(message, kind)
	message = binary.NativeEndian.AppendUint16(message, flags|syscall.NLM_F_REQUEST|syscall.NLM_F_ACK)
	message = binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(message, b.count), 0)
	resource := uint16(0)
	if kind == batchBegin || kind == batchEnd {
		resource = 10
	}
	message = binary.BigEndian.AppendUint16(append(message, family, 0), resource)
	b.bytes = append(append(b.bytes, message...), body...)
	b.count++
}

// All of it is done, or nothing.
func (b *batch) send() error {
	socket, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, netfilter)
	if err != nil {
		return err
	}
	defer syscall.Close(socket)
	patience := syscall.Timeval{Sec: 5}
	if err := syscall.SetsockoptTimeval(socket, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &patience); err != nil {
		return err
	}
	if err := syscall.Sendto(socket, b.bytes, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return err
	}
	answer := make([]byte, 1<<16)
	for heard := uint32(0); heard+1 < b.count; {
		length, _, err := syscall.Recvfrom(socket, answer, 0)
		if err != nil {
			return err
		}
		messages, err := syscall.ParseNetlinkMessage(answer[:length])
		if err != nil {
			return err
		}
		for _, message := range messages {
			if message.Header.Type != syscall.NLMSG_ERROR {
				continue
			}
			if code := int32(binary.NativeEndian.Uint32(message.Data)); code != 0 {
				return fmt.Errorf("the kernel refuses part %d of it: %w", message.Header.Seq, syscall.Errno(-code))
			}
			heard = max(heard, message.Header.Seq)
		}
	}
	return nil
}
