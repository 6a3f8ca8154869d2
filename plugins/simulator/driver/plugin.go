package driver

import (
	"context"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/plugins/simulator/fault"
	"github.com/kumo-cloud/kumo/plugins/simulator/world"
	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// openWait bounds how long a call waits for the world. It is long only when
// another process, which is ending, still has it.
const openWait = 30 * time.Second

// simulator is what the strategies share.
type simulator struct {
	log    hclog.Logger
	faults *fault.Injector

	// opened is closed when live and err are set.
	opened chan struct{}
	live   *world.Live
	err    error
	once   sync.Once
}

// New returns the plugin, to be served by pluginsdk.Serve.
func New(version string) pluginsdk.Plugin {
	s := &simulator{log: hclog.NewNullLogger(), opened: make(chan struct{})}
	return pluginsdk.Plugin{
		Manifest:       manifest(version),
		Configure:      s.configure,
		Close:          s.close,
		Hypervisor:     hypervisor{s},
		PrimaryStorage: primary{s},
		BackupStorage:  backup{s},
		L2Network:      l2{s},
		NetworkService: service{s},
	}
}

// configure reads the settings and begins to open the world. It does not wait:
// when the plugin is upgraded, the old process lets go of the world only after
// the new one has been configured.
func (s *simulator) configure(_ context.Context, env pluginsdk.Env) error {
	limits, err := limits(env.Settings)
	if err != nil {
		return err
	}
	if info, err := os.Stat(env.DataDir); err != nil || !info.IsDir() {
		return errs.Wrap(errs.Invalid, "data folder "+env.DataDir, err, "not a folder")
	}
	if s.faults, err = fault.New(env.Settings[settingFaults], env.DataDir, methods); err != nil {
		return err
	}
	if env.Log != nil {
		s.log = env.Log
	}
	s.once.Do(func() {
		go func() {
			defer close(s.opened)
			begin := time.Now()
			if s.live, s.err = world.Open(env.DataDir, limits); s.err != nil {
				s.log.Error("world cannot be opened", "error", s.err)
				return
			}
			s.log.Info("world opened", "folder", env.DataDir, "duration", time.Since(begin))
		}()
	})
	return nil
}

func (s *simulator) close() error {
	if s.faults == nil {
		return nil
	}
	select {
	case <-s.opened:
	case <-time.After(time.Second):
		return nil // another process has the world, so there is nothing to write
	}
	if s.live == nil {
		return nil
	}
	return s.live.Close()
}

// world returns the world when it is open.
func (s *simulator) world(ctx context.Context) (*world.Live, error) {
	select {
	case <-s.opened:
		return s.live, s.err
	default:
	}
	if s.faults == nil {
		return nil, errs.New(errs.Unavailable, "simulator", "not configured")
	}
	t := time.NewTimer(openWait)
	defer t.Stop()
	select {
	case <-s.opened:
		return s.live, s.err
	case <-t.C:
		return nil, errs.New(errs.Unavailable, "simulator", "another process has used its data folder for %s", openWait).
			WithAdvice("end the other kumo-plugin-simulator")
	case <-ctx.Done():
		return nil, errs.Wrap(errs.ClassOf(ctx.Err()), "simulator", ctx.Err(), "waiting for its world")
	}
}

// run makes one call: faults before, the effect, faults after. ids are the
// objects that the call concerns.
func run[R any](ctx context.Context, s *simulator, method string, effect func(*world.Live) (R, error), ids ...string) (R, error) {
	var none R
	w, err := s.world(ctx)
	if err != nil {
		return none, err
	}
	plan, err := s.faults.Plan(method, ids...)
	if err != nil {
		return none, err
	}
	if err = plan.Before(ctx); err != nil {
		return none, err
	}
	answer, err := effect(w)
	if err != nil {
		return none, err
	}
	if err = plan.After(ctx); err != nil {
		return none, err
	}
	return answer, nil
}

func limits(settings map[string]string) (world.Limits, error) {
	l := world.Limits{}
	var err error
	if l.CPU, err = ratio(settings, settingCPURatio, defaultCPURatio); err != nil {
		return l, err
	}
	if l.Memory, err = ratio(settings, settingMemoryRatio, defaultMemoryRatio); err != nil {
		return l, err
	}
	text := settings[settingStrictNICs]
	if text == "" {
		text = defaultStrictNICs
	}
	if l.StrictNICs, err = strconv.ParseBool(text); err != nil {
		return l, errs.New(errs.Invalid, "setting "+settingStrictNICs, "%q is neither true nor false", text)
	}
	return l, nil
}

func ratio(settings map[string]string, name, fallback string) (float64, error) {
	text := settings[name]
	if text == "" {
		text = fallback
	}
	r, err := strconv.ParseFloat(text, 64)
	if err != nil || !(r > 0 && r <= 1e6) {
		return 0, errs.New(errs.Invalid, "setting "+name, "%q is no number above 0", text)
	}
	return r, nil
}
