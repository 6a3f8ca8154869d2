package cli

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kumo-cloud/kumo/web/cli/render"
	"github.com/kumo-cloud/kumo/web/cli/schema"
)

// headings are the words of cobra's usage, the longest first.
var headings = strings.NewReplacer(
	`Use "{{.CommandPath}} [command] --help" for more information about a command.`, `用“{{.CommandPath}} [命令] --help”查看某个命令的详细说明。`,
	"Additional help topics:", "其他帮助主题：", "Additional Commands:", "其他命令：", "Available Commands:", "可用命令：",
	"Global Flags:", "全局选项：", "Flags:", "选项：", "Examples:", "示例：", "Aliases:", "别名：", "Usage:", "用法：", "[command]", "[命令]")

// inChinese are the texts of commands and flags that are ours or cobra's; those of
// the cloud's nouns are in the schema.
var inChinese = map[string]string{
	"The cloud:":                "云平台：",
	"Kumo, a cloud of your own": "Kumo：自己的云",
	"Kumo runs a cloud (kumo serve) and commands it (everything else).\n\nThe server is the one of --server or KUMO_SERVER; sign in first with kumo login.": "Kumo 运行一个云（kumo serve），并对它下命令（其余命令）。\n\n服务器由 --server 或 KUMO_SERVER 指定；请先用 kumo login 登录。",
	"address of the API (KUMO_SERVER)":                               "API 地址（KUMO_SERVER）",
	"how results are written: " + strings.Join(render.Formats, ", "): "输出格式：" + strings.Join(render.Formats, ", "),
	"Help about any command":                                         "查看任一命令的帮助",
	"Generate the autocompletion script for the specified shell":     "生成 shell 的自动补全脚本",
	"Generate the autocompletion script for bash":                    "生成 bash 的自动补全脚本",
	"Generate the autocompletion script for zsh":                     "生成 zsh 的自动补全脚本",
	"Generate the autocompletion script for fish":                    "生成 fish 的自动补全脚本",
	"Generate the autocompletion script for powershell":              "生成 powershell 的自动补全脚本",
	"disable completion descriptions":                                "补全时不显示说明",
	"Query any resource type, across its relations":                  "查询任意类型的资源，可跨关联",
	"Sign in to an account and keep the session":                     "登录账户并保存会话",
	"End the session": "退出登录",
	"Get back in, on the server's machine, without a log-in":                                                  "在服务器本机上找回访问权限，无需登录",
	"List stored values that break a rule of today, and rows that cannot be read, on the server's machine":    "在服务器本机上列出不符合现行规则的值以及无法读取的记录",
	"Give an account a new password and end its sessions":                                                     "重置账户密码并结束其会话",
	"List the sessions, or end them":                                                                          "列出会话，或结束会话",
	"end the sessions":                                                                                        "结束会话",
	"name of the account (default: all)":                                                                      "账户名（默认：全部）",
	"name of the account (default: the first administrator)":                                                  "账户名（默认：初始管理员）",
	"configuration file (YAML; keys are the flags' names)":                                                    "配置文件（YAML，键为选项名）",
	"folder of the database, the plugins' data and secrets (default: ~/.kumo, for root /var/lib/kumo/server)": "数据库、插件数据和密钥所在目录（默认 ~/.kumo，root 为 /var/lib/kumo/server）",
	"database: sqlite:PATH or mysql://user:pass@host:port/db (default: sqlite in the data folder)":            "数据库：sqlite:PATH 或 mysql://user:pass@host:port/db（默认为数据目录中的 sqlite）",
	"Run plugins, and write new ones":                                                                         "运行插件，编写新插件",
	"Write the source of a new plugin that works, with its test":                                              "生成一个可用的新插件及其测试的源码",
	"Make an all-in-one cloud of the server's machine, with a VM":                                             "把服务器所在机器做成一体化的云，并创建一台云主机",
	"Tell whether the server serves, and how it is":                                                           "查看服务器是否在服务及其状况",
	"Run the Kumo server":                                                                                     "运行服务器",
	"name of the account":                                                                                     "账户名",
	"file with the password; - reads stdin":                                                                   "密码文件；- 表示标准输入",
	"folder to write to (default: one with the plugin's name)":                                                "写入的目录（默认与插件同名）",
	"network card for the VMs' network":                                                                       "云主机网络使用的网卡",
	"the VMs' network":                                                                                        "云主机网络",
	"folder for disks":                                                                                        "云盘目录",
	"folder for images":                                                                                       "镜像目录",
	"memory of the VM":                                                                                        "云主机内存",
	"file that the VM gets as its user data":                                                                  "作为云主机用户数据的文件",
	"delete everything in the cloud":                                                                          "删除云中的一切",
	"do not ask":                                                                                              "不再询问",
	"file with the server's PID":                                                                              "服务器的 PID 文件",
	"print the job's UUID and do not wait for its end":                                                        "只打印任务的 UUID，不等待结束",
	"wait for the end of the job":                                                                             "等待任务结束",
	"show what would go with it, and do nothing":                                                              "只显示会一并删除的内容，不执行",
	"any other parameter of the API, as name=value; the value may be JSON":                                    "API 的其他参数，写作 名称=值；值可以是 JSON",
	"system tag, which changes behaviour; may be repeated":                                                    "系统标签，会改变行为；可重复",
	"tag of your own; may be repeated":                                                                        "自定义标签；可重复",
	"field to sort by, -FIELD for descending":                                                                 "排序字段，-字段 表示降序",
	"only these columns":                                                                                      "只显示这些列",
	"leave out so many first":                                                                                 "跳过开头的若干个",
	"print the number only":                                                                                   "只打印数量",
	"only those of which FIELD=VALUE holds; may be repeated. Operators: = != > >= < <= ?= (in) ~= (like, with %)":              "只要满足 字段=值 的；可重复。运算符：= != > >= < <= ?=（属于） ~=（匹配，用 %）",
	"guest image: a URL, or a file of the server's machine in a folder that imagestore's setting fileFolders lists (required)": "镜像：URL，或服务器上由 imagestore 的设置 fileFolders 列出的目录中的文件（必填）",
}

// translate turns what cobra and this program say by themselves into Chinese, for
// a whole tree of commands. What has no translation stays.
func translate(root *cobra.Command) {
	cobra.AddTemplateFunc("defaults", func(usages string) string { return strings.ReplaceAll(usages, "(default ", "(默认 ") })
	root.SetUsageTemplate(strings.ReplaceAll(headings.Replace(root.UsageTemplate()), "FlagUsages", "FlagUsages | defaults"))
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	root.InitDefaultVersionFlag()
	for _, g := range root.Groups() {
		g.Title = chinese(g.Title)
	}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		c.Short = chinese(c.Short)
		c.Long = longChinese(c)
		c.InitDefaultHelpFlag()
		for _, flags := range []*pflag.FlagSet{c.Flags(), c.PersistentFlags()} {
			flags.VisitAll(func(f *pflag.Flag) {
				switch f.Name {
				case "help":
					f.Usage = c.Name() + " 的帮助"
				case "version":
					f.Usage = "打印版本"
				default:
					f.Usage = chinese(f.Usage)
				}
			})
		}
		if c.Runnable() && c.HasAvailableFlags() && !c.DisableFlagsInUseLine {
			c.DisableFlagsInUseLine = true
			c.Use += " [选项]"
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
}

// longChinese is the long text of a command. Ours begin with a line by which they
// are known.
func longChinese(c *cobra.Command) string {
	if load, ok := loads[c.Name()]; ok && c.Parent() != nil && c.Parent().Name() == "completion" {
		return c.Short + "。\n\n在当前会话中载入：\n\n\t" + load
	}
	if zh, ok := inChinese[c.Long]; ok {
		return zh
	}
	first, _, _ := strings.Cut(c.Long, "\n")
	if zh, ok := longInChinese[strings.TrimSpace(first)]; ok {
		return zh
	}
	return c.Long
}

// loads are how the shells take the script of completion.
var loads = map[string]string{"bash": "source <(kumo completion bash)", "zsh": "source <(kumo completion zsh)", "fish": "kumo completion fish | source",
	"powershell": "kumo completion powershell | Out-String | Invoke-Expression"}

// longInChinese are the long texts of commands by their first line.
var longInChinese = map[string]string{
	"Signs in and keeps the session in ~/.config/kumo (or KUMO_CONFIG_DIR), readable by you only,": "登录，并把会话保存在 ~/.config/kumo（或 KUMO_CONFIG_DIR），只有自己可读；\n" +
		"服务器对自己的描述保存在 ~/.cache/kumo（或 KUMO_CACHE_DIR）。\n密码会询问，或取自 --password-file（- 为标准输入）或 KUMO_PASSWORD。",
	"Looks into the database of this machine's server, which is found by its data folder, whether it runs or not. It changes": "检查本机服务器的数据库（通过数据目录找到），服务器是否在运行都可以使用。不做任何更改：\n" +
		"列出的内容会尽可能继续工作，但不能再这样写入。",
	"Commands the server of this machine by its data folder: who may read and write that needs no log-in.": "通过数据目录对本机的服务器下命令：能读写该目录者无需登录。\n" +
		"服务器是否在运行都可以使用。所做的更改记入审计记录。",
	"Asks for the new password twice, or reads it from stdin when that is no terminal. It is never an argument": "询问新密码两次；标准输入不是终端时从标准输入读取。密码从不作为参数或环境变量，\n" +
		"因为他人可以读到。账户的 AccessKey 保持不变。",
	"Writes a primary storage that keeps volumes in a folder of each host, and its conformance test,": "生成一个把云盘放在各物理机目录中的主存储插件及其一致性测试，供修改。\n" +
		"在 Kumo 源码树内请写到 plugins/NAME：make build 会在那里找到它。",
	"Conditions are joined by AND. Operators: = != > >= < <= ?= (in) !?= ~= (like) !~= 'is null' 'not null'.": "多个条件同时满足。运算符：= != > >= < <= ?=（属于） !?= ~=（匹配） !~= 'is null' 'not null'。\n" +
		"关联资源的字段用点号书写。",
	"Makes zone, cluster, host, storages, image, network and the VM hello through the API. What exists": "通过 API 创建区域、集群、物理机、存储、镜像、网络和云主机 hello。\n" +
		"同名的已有资源保持不变，因此可以重复执行。--remove 删除云中的一切。make run 和 make down 使用它。\n没有登录时，以 admin 和 KUMO_PASSWORD 登录。",
	"Asks the server's /healthz; needs no login. Exits with 1 when the server does not serve.": "询问服务器的 /healthz，无需登录。服务器不在服务时以 1 退出。\n" +
		"给出 --pid-file（默认 .run/kumo.pid，由 make run 写入）时还显示进程。",
	"Generate the autocompletion script for kumo for the specified shell.": "生成指定 shell 的 kumo 自动补全脚本。用法见各子命令的帮助。",
}

func chinese(text string) string {
	if zh, ok := inChinese[text]; ok {
		return zh
	}
	return text
}

// said is a text of the schema in the person's language, "" when it is there in
// English only and the person reads Chinese: then a caption says more.
func (a *App) said(c schema.Caption) string {
	lang := a.language()
	if lang == "zh" && c.In("zh") == c.In("en") {
		return ""
	}
	return c.In(lang)
}
