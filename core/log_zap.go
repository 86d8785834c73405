package core

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"

	golog "github.com/ipfs/go-log/v2"
	"go.uber.org/zap/zapcore"
)

// captureZap brings the third make of loggers, zap's behind go-log, into logs: the DHT and what it is made of. Their levels are kept over there too, so
// that a call that is not heard costs little, and set as a whole, for to change a single one there is not safe while loggers are made. It is called
// with logs.changing held, and not logs.mu, which whoever logs over there waits for.
func captureZap() {
	config := golog.Config{SubsystemLevels: map[string]golog.LogLevel{}}
	logs.mu.RLock()
	config.Level = zapLevel(logs.all)
	for subsystem, level := range logs.levels {
		config.SubsystemLevels[subsystem] = zapLevel(level)
	}
	logs.mu.RUnlock()
	golog.SetupLogging(config)
	golog.SetPrimaryCore(&zapOutlet{})
}

func zapLevel(l slog.Level) golog.LogLevel {
	switch {
	case l <= slog.LevelDebug:
		return golog.LevelDebug
	case l <= slog.LevelInfo:
		return golog.LevelInfo
	case l <= slog.LevelWarn:
		return golog.LevelWarn
	case l <= slog.LevelError:
		return golog.LevelError
	}
	return golog.LevelFatal
}

// zapOutlet feeds zap's records into logs.
type zapOutlet struct{ attrs []string }

var _ zapcore.Core = (*zapOutlet)(nil)

func slogLevel(l zapcore.Level) slog.Level {
	switch {
	case l < zapcore.InfoLevel:
		return slog.LevelDebug
	case l < zapcore.WarnLevel:
		return slog.LevelInfo
	case l < zapcore.ErrorLevel:
		return slog.LevelWarn
	}
	return slog.LevelError
}

// Enabled is always true: zap complains on stderr about a core below a logger that lets less pass than the logger does.
func (*zapOutlet) Enabled(zapcore.Level) bool { return true }

func (z *zapOutlet) With(fields []zapcore.Field) zapcore.Core {
	return &zapOutlet{append(slices.Clone(z.attrs), fieldTexts(fields)...)}
}

func (z *zapOutlet) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if level := slogLevel(e.Level); anyoneHears(level) && level >= levelOf(e.LoggerName) {
		return checked.AddCore(e, z)
	}
	return checked
}

func (z *zapOutlet) Write(e zapcore.Entry, fields []zapcore.Field) error {
	return hand(LogRecord{e.Time, slogLevel(e.Level), e.LoggerName, oneLine(e.Message), append(slices.Clone(z.attrs), fieldTexts(fields)...)})
}

func (*zapOutlet) Sync() error { return nil }

func fieldTexts(fields []zapcore.Field) []string {
	encoder := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(encoder)
	}
	texts := make([]string, 0, len(encoder.Fields))
	for _, key := range slices.Sorted(maps.Keys(encoder.Fields)) {
		texts = append(texts, oneLine(fmt.Sprintf("%s=%v", key, encoder.Fields[key])))
	}
	return texts
}
