// Packets to or from the given IPv4 addresses vanish on the loopback device for as long as this program lives: an XDP
// program, put together by hand. Needs root and amd64; to be run in a network of its own, where it is nobody else's.
package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"unsafe"
)

const (
	bpfCall       = 321 // amd64
	bpfProgLoad   = 5
	bpfLinkCreate = 28
	progTypeXdp   = 6
	attachTypeXdp = 37
	modeGeneric   = 2
	loopback      = 1
	headersLength = 34 // Ethernet, IPv4
	sourceAt      = 26
	destinationAt = 30
	verdictDrop   = 1
	verdictPass   = 2
)

func instruction(op, registers byte, offset int16, value int32) []byte {
	b := make([]byte, 8)
	b[0], b[1] = op, registers
	binary.LittleEndian.PutUint16(b[2:], uint16(offset))
	binary.LittleEndian.PutUint32(b[4:], uint32(value))
	return b
}

// Passes what is shorter than an IPv4 header, drops what has one of the addresses at either end, passes the rest.
func program(addresses []int32) []byte {
	n := int16(len(addresses))
	all := [][]byte{
		instruction(0x61, 0x12, 0, 0), // r2 = data
		instruction(0x61, 0x13, 4, 0), // r3 = end of data
		instruction(0xbf, 0x24, 0, 0), // r4 = r2 + headers
		instruction(0x07, 0x04, 0, headersLength),
		instruction(0x2d, 0x34, 2+2*n, 0), // r4 > r3: pass
	}
	for i, field := range []int16{destinationAt, sourceAt} {
		all = append(all, instruction(0x61, 0x25, field, 0)) // r5 = address
		for j, address := range addresses {
			left := n - 1 - int16(j) + (1-int16(i))*(n+1)
			all = append(all, instruction(0x16, 0x05, left+2, address)) // equal: drop
		}
	}
	all = append(all,
		instruction(0xb7, 0x00, 0, verdictPass), instruction(0x95, 0, 0, 0),
		instruction(0xb7, 0x00, 0, verdictDrop), instruction(0x95, 0, 0, 0))
	var bytes []byte
	for _, one := range all {
		bytes = append(bytes, one...)
	}
	return bytes
}

func fail(what string, why any) {
	fmt.Fprintln(os.Stderr, what, why)
	os.Exit(1)
}

func main() {
	var addresses []int32
	for _, text := range os.Args[1:] {
		ip := net.ParseIP(text).To4()
		if ip == nil {
			fail("no IPv4 address:", text)
		}
		addresses = append(addresses, int32(binary.LittleEndian.Uint32(ip)))
	}
	code := program(addresses)
	licence := []byte("GPL\x00")
	log := make([]byte, 65536)
	load := make([]byte, 128)
	binary.LittleEndian.PutUint32(load[0:], progTypeXdp)
	binary.LittleEndian.PutUint32(load[4:], uint32(len(code)/8))
	binary.LittleEndian.PutUint64(load[8:], uint64(uintptr(unsafe.Pointer(&code[0]))))
	binary.LittleEndian.PutUint64(load[16:], uint64(uintptr(unsafe.Pointer(&licence[0]))))
	binary.LittleEndian.PutUint32(load[24:], 1)
	binary.LittleEndian.PutUint32(load[28:], uint32(len(log)))
	binary.LittleEndian.PutUint64(load[32:], uint64(uintptr(unsafe.Pointer(&log[0]))))
	loaded, _, fault := syscall.Syscall(bpfCall, bpfProgLoad, uintptr(unsafe.Pointer(&load[0])), 120)
	if fault != 0 {
		fail("the program was refused:", fmt.Sprint(fault, " ", string(log[:400])))
	}
	link := make([]byte, 64)
	binary.LittleEndian.PutUint32(link[0:], uint32(loaded))
	binary.LittleEndian.PutUint32(link[4:], loopback)
	binary.LittleEndian.PutUint32(link[8:], attachTypeXdp)
	binary.LittleEndian.PutUint32(link[12:], modeGeneric)
	if _, _, fault = syscall.Syscall(bpfCall, bpfLinkCreate, uintptr(unsafe.Pointer(&link[0])), 16); fault != 0 {
		fail("the loopback device took no program:", fault)
	}
	fmt.Println("dark")
	over := make(chan os.Signal, 1)
	signal.Notify(over, syscall.SIGTERM, syscall.SIGINT)
	<-over
}
