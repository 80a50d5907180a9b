// TarsGo: `tars_peer server|client|push-client PORT`. Arguments and results are written by hand, as its compiler would have it: a text or
// an int at 1, and a text at 0.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/TarsCloud/TarsGo/tars"
	"github.com/TarsCloud/TarsGo/tars/model"
	"github.com/TarsCloud/TarsGo/tars/protocol/codec"
	"github.com/TarsCloud/TarsGo/tars/protocol/push"
	"github.com/TarsCloud/TarsGo/tars/protocol/res/basef"
	"github.com/TarsCloud/TarsGo/tars/protocol/res/requestf"
	"github.com/TarsCloud/TarsGo/tars/util/current"
	"github.com/TarsCloud/TarsGo/tars/util/tools"
)

const servant = "Test.Echo.EchoObj"

var port = os.Args[2]

// --- the server ---

type echo struct{ noted atomic.Int32 }

func (e *echo) Dispatch(ctx context.Context, _ any, req *requestf.RequestPacket, resp *requestf.ResponsePacket, _ bool) error {
	in, out := codec.NewReader(tools.Int8ToByte(req.SBuffer)), codec.NewBuffer()
	answer, err := e.call(ctx, req.SFuncName, in)
	if err != nil {
		return err
	}
	if err := out.WriteString(answer, 0); err != nil {
		return err
	}
	resp.SBuffer = tools.ByteToInt8(out.ToBytes())
	return nil
}

func (e *echo) call(ctx context.Context, method string, in *codec.Reader) (string, error) {
	text, millis := "", int32(0)
	switch method {
	case "echo":
		return text, in.ReadString(&text, 1, true)
	case "tenant":
		all, _ := current.GetRequestContext(ctx)
		return all["tenant"], nil
	case "slow":
		err := in.ReadInt32(&millis, 1, true)
		time.Sleep(time.Duration(millis) * time.Millisecond)
		return "slept", err
	case "fail":
		return "", tars.Errorf(17, "boom")
	case "note":
		e.noted.Add(1)
		return "", nil
	case "noted":
		return fmt.Sprint(e.noted.Load()), nil
	case "push":
		return "pushed", push.Send(ctx, []byte("news"))
	case "die":
		os.Exit(0)
	case "leave":
		// In order: it tells those who are connected to go elsewhere, and serves what it has.
		_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
		return "leaving", nil
	}
	return "", tars.Errorf(basef.TARSSERVERNOFUNCERR, "no %s", method)
}

func configure(folder string) {
	text := `<tars>
<application>
<server>
app=Test
server=Echo
localip=127.0.0.1
basepath=FOLDER
datapath=FOLDER
logpath=FOLDER
loglevel=ERROR
<EchoObjAdapter>
endpoint=tcp -h 127.0.0.1 -p PORT -t 60000
servant=Test.Echo.EchoObj
protocol=tars
threads=8
maxconns=1000
queuecap=10000
</EchoObjAdapter>
</server>
<client>
modulename=Test
async-invoke-timeout=20000
</client>
</application>
</tars>
`
	file := filepath.Join(folder, "tars.conf")
	text = strings.NewReplacer("PORT", port, "FOLDER", folder).Replace(text)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		panic(err)
	}
	tars.ServerConfigPath = file
	// Reads it.
	tars.GetServerConfig()
}

// --- the client ---

type client struct{ model.Servant }

func (c *client) SetServant(s model.Servant) { c.Servant = s }

func connect(name string) *client {
	c := &client{}
	tars.NewCommunicator().StringToProxy(fmt.Sprintf("%s@tcp -h 127.0.0.1 -p %s -t 20000", name, port), c)
	return c
}

func (c *client) call(method string, write func(*codec.Buffer) error) (string, error) {
	return c.within(20000, basef.TARSNORMAL, method, write)
}

func (c *client) within(millis int, kind int8, method string, write func(*codec.Buffer) error) (string, error) {
	out := codec.NewBuffer()
	if write != nil {
		if err := write(out); err != nil {
			return "", err
		}
	}
	ctx := current.ContextWithClientCurrent(context.Background())
	current.SetClientTimeout(ctx, millis)
	resp := &requestf.ResponsePacket{}
	if err := c.TarsInvoke(ctx, byte(kind), method, out.ToBytes(), nil, nil, resp); err != nil || kind == basef.TARSONEWAY {
		return "", err
	}
	text := ""
	err := codec.NewReader(tools.Int8ToByte(resp.SBuffer)).ReadString(&text, 0, true)
	return text, err
}

func (c *client) echo(text string) (string, error) {
	return c.call("echo", func(out *codec.Buffer) error { return out.WriteString(text, 1) })
}

func (c *client) slow(millis int) (string, error) {
	return c.call("slow", func(out *codec.Buffer) error { return out.WriteInt32(int32(millis), 1) })
}

var failed = 0

// `want`: what it says, or, of an error, its code.
func check(name, want string, call func() (string, error)) {
	got, err := call()
	var known *tars.Error
	if errors.As(err, &known) {
		got = fmt.Sprint("code ", known.Code)
	} else if err != nil && strings.HasPrefix(want, "code ") && strings.HasSuffix(err.Error(), want) {
		// An answer that says nothing but its code.
		got = want
	} else if err != nil {
		got = err.Error()
	}
	if got == want {
		fmt.Println("ok   " + name)
		return
	}
	failed++
	fmt.Printf("FAIL %s: wanted %.200s, got %.200s (%v)\n", name, want, got, err)
}

func until(call func() (string, error)) (text string, err error) {
	for tries := 0; tries < 600; tries++ {
		if text, err = call(); err == nil {
			return text, nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return text, err
}

// A call in flight, in the middle of which something is done.
func during(millis int, c *client, do func() error) (string, error) {
	type answer struct {
		text string
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		text, err := c.slow(millis)
		answered <- answer{text, err}
	}()
	time.Sleep(300 * time.Millisecond)
	if err := do(); err != nil {
		return "", err
	}
	got := <-answered
	return got.text, got.err
}

func hook(name string) func() error {
	return func() error { return exec.Command("sh", "-c", os.Getenv(name)).Run() }
}

func ask() {
	one, big := connect(servant), strings.Repeat("0123456789", 300_000)
	check("echo", "hello", func() (string, error) { return one.echo("hello") })
	check("3 MB", big, func() (string, error) { return one.echo(big) })
	check("out of order", "quick before slept", func() (string, error) {
		quick := ""
		slept, err := during(800, one, func() (err error) { quick, err = one.echo("quick"); return })
		return quick + " before " + slept, err
	})
	check("200 at once", "200", func() (string, error) {
		var good atomic.Int32
		var all sync.WaitGroup
		for at := range 200 {
			all.Add(1)
			go func() {
				defer all.Done()
				if text := fmt.Sprint("call ", at); func() string { got, _ := one.echo(text); return got }() == text {
					good.Add(1)
				}
			}()
		}
		all.Wait()
		return fmt.Sprint(good.Load()), nil
	})
	check("the route writes into the context", "blue", func() (string, error) { return one.call("tenant", nil) })
	if len(os.Args) == 3 {
		check("exception", "code 17", func() (string, error) { return one.call("fail", nil) })
		check("one-way calls", "20", func() (string, error) {
			for range 20 {
				if _, err := one.within(5000, basef.TARSONEWAY, "note", nil); err != nil {
					return "", err
				}
			}
			return until(func() (string, error) {
				if got, err := one.call("noted", nil); err != nil || got != "20" {
					return got, errors.New("not yet")
				}
				return "20", nil
			})
		})
	}
	check("heartbeat", "0", func() (string, error) {
		resp := &requestf.ResponsePacket{}
		err := one.TarsInvoke(current.ContextWithClientCurrent(context.Background()), byte(basef.TARSNORMAL), "tars_ping", nil, nil, nil, resp)
		return fmt.Sprint(resp.IRet), err
	})
	check("unknown method", "code -3", func() (string, error) { return one.call("nothing", nil) })
	check("no route", "code -4", func() (string, error) { return connect("Nowhere.Echo.EchoObj").echo("x") })
	check("timeout", "timeout", func() (string, error) {
		_, err := one.within(300, basef.TARSNORMAL, "slow", func(out *codec.Buffer) error { return out.WriteInt32(2000, 1) })
		if err == nil {
			return "none", nil
		}
		return "timeout", nil
	})
	check("after the timeout", "again", func() (string, error) { return one.echo("again") })
	check("upstream killed mid-call", "an error", func() (string, error) {
		if _, err := one.call("die", nil); err == nil {
			return "none", nil
		}
		return "an error", nil
	})
	check("after it came back", "back", func() (string, error) { return until(func() (string, error) { return one.echo("back") }) })
	if len(os.Args) == 3 {
		check("an upstream that leaves mid-call", "slept", func() (string, error) {
			return during(1500, one, func() error { _, err := one.call("leave", nil); return err })
		})
		check("after it came back", "back", func() (string, error) { return until(func() (string, error) { return one.echo("back") }) })
	}
	check("a reload mid-call", "slept", func() (string, error) { return during(1500, one, hook("RINGWAY_RELOAD")) })
	check("after the reload", "again", func() (string, error) { return one.echo("again") })
	// It takes the proxy's goodbye for an answer to one of its calls, and closes the connection with the last of them in flight.
	go func() { _, _ = one.slow(5500) }()
	check("a drain mid-call", "slept", func() (string, error) { return during(4500, one, hook("RINGWAY_DRAIN")) })
}

func hear() {
	for at := range 2 {
		one, heard := connect(servant), make(chan string, 1)
		one.SetPushCallback(func(data []byte) { heard <- string(data) })
		check(fmt.Sprint("client ", at, " asks for a push"), "pushed", func() (string, error) { return one.call("push", nil) })
		check("and hears it", "news", func() (string, error) {
			select {
			case text := <-heard:
				return text, nil
			case <-time.After(20 * time.Second):
				return "", errors.New("nothing was pushed")
			}
		})
	}
}

func main() {
	folder, err := os.MkdirTemp("", "tars")
	if err != nil {
		panic(err)
	}
	configure(folder)
	switch os.Args[1] {
	case "server":
		peer := &echo{}
		tars.AddServantWithContext(peer, peer, servant)
		fmt.Println("ready")
		tars.Run()
	case "client":
		ask()
	case "push-client":
		hear()
	}
	_ = os.RemoveAll(folder)
	if failed > 0 {
		os.Exit(1)
	}
}
