package cli

import (
	"regexp"
	"strings"
	"testing"
)

// sentence is what English is known by: four words that are no part of a command
// line, a value or a name.
var sentence = regexp.MustCompile(`(^|\s)[A-Za-z][a-z']+ [a-z']+ [a-z']+ [a-z']+`)

// english are the lines of a help that say something in English. Examples are
// commands.
func english(help string) (lines []string) {
	examples := false
	for _, line := range strings.Split(help, "\n") {
		if line == "" {
			examples = false
		}
		if strings.HasPrefix(line, "示例：") {
			examples = true
		}
		if !examples && sentence.MatchString(line) {
			lines = append(lines, line)
		}
	}
	return lines
}

// Who reads Chinese is told all in Chinese: the help of every command, of every
// noun and verb, and what is wrong with a command line.
func TestChinese(t *testing.T) {
	server := fakeCloud(t)
	s := newSession(t, server.URL)
	s.env["LANG"] = "zh_CN.UTF-8"
	s.signIn(t)
	read := 0
	var help func(words ...string)
	help = func(words ...string) {
		if code, text := s.run(append(words, "--help")...); code != 0 {
			t.Fatalf("kumo %v --help: %s", words, text)
		}
		read++
		out := s.out.String()
		for _, line := range english(out) {
			t.Errorf("kumo %s --help says %q", strings.Join(words, " "), line)
		}
		if !strings.Contains(out, "用法：") || strings.Contains(out, "Flags:") || strings.Contains(out, "[flags]") {
			t.Errorf("kumo %s --help has cobra's own words:\n%s", strings.Join(words, " "), out)
		}
		if len(words) > 1 {
			return
		}
		listed := false
		for _, line := range strings.Split(out, "\n") {
			if !strings.HasPrefix(line, " ") {
				listed = strings.HasSuffix(line, "：") && !strings.HasPrefix(line, "用法") && !strings.HasPrefix(line, "示例") && !strings.Contains(line, "选项") && !strings.HasPrefix(line, "别名")
				continue
			}
			if name := strings.Fields(line); listed && len(name) > 1 && name[0] != "help" {
				help(append(append([]string{}, words...), name[0])...)
			}
		}
	}
	help()
	if read < 100 {
		t.Errorf("only %d helps were read", read)
	}
	for _, c := range []struct{ line, want string }{
		{"vn ls", "未知的资源 vn (是否要输入 vm？)"},
		{"vm strat web-1", "未知的操作 strat (是否要输入 start？)"},
		{"vm create web-1 --imag tiny", "未知的选项 --imag (是否要输入 --image？)"},
		{"vm ls --limit", "选项 --limit 缺少值 (见 kumo vm ls --help)"},
		{"vm ls --limit many", `选项 --limit 的值 "many" 无效`},
		{"vm show", "缺少 vm 的名称或 UUID"},
		{"vm start", "缺少 vm 的名称或 UUID (例如：kumo vm start"},
	} {
		if code, text := s.run(strings.Fields(c.line)...); code == 0 || !strings.Contains(text, c.want) {
			t.Errorf("kumo %s says %q, want %q", c.line, text, c.want)
		}
	}
}
