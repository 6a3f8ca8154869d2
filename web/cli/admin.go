package cli

import (
	"context"
	"encoding/json"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/web/cli/render"
)

// Machine is the server of this machine, for who may read and write its data
// folder. Accounts are named; "" is the first administrator for ResetPassword and
// all of them for the others.
type Machine interface {
	// Flags adds the flags that say where the folder is.
	Flags(flags *pflag.FlagSet)
	// ResetPassword returns the account's name and how many sessions ended.
	ResetPassword(ctx context.Context, account, password string) (name string, ended int, err error)
	// Sessions returns objects with session, account, createDate, lastUseDate and
	// expiredDate.
	Sessions(ctx context.Context, account string) ([]json.RawMessage, error)
	// EndSessions returns how many ended.
	EndSessions(ctx context.Context, account string) (int, error)
	// Misfits returns objects with type, uuid, field, value and why.
	Misfits(ctx context.Context) ([]json.RawMessage, error)
}

func (a *App) doctorCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "doctor", Short: "List stored values that break a rule of today, and rows that cannot be read, on the server's machine",
		Long: "Looks into the database of this machine's server, which is found by its data folder, whether it runs or not. It changes\n" +
			"nothing: what is listed goes on working as far as it can, and cannot be written so again. System tags and settings are\n" +
			"looked at while the server runs.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := a.format()
			if err != nil {
				return err
			}
			found, err := a.Machine.Misfits(cmd.Context())
			if err != nil {
				return err
			}
			columns := []render.Column{{Title: a.words("TYPE", "类型"), Path: "type"}, {Title: "UUID", Path: "uuid"},
				{Title: a.words("FIELD", "字段"), Path: "field"}, {Title: a.words("WHY", "原因"), Path: "why"}}
			return render.List(a.Out, f, columns, "uuid", found)
		},
	}
	a.Machine.Flags(c.Flags())
	return c
}

func (a *App) adminCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "admin", Short: "Get back in, on the server's machine, without a log-in",
		Long: "Commands the server of this machine by its data folder: who may read and write that needs no log-in.\n" +
			"They work whether the server runs or not. What they change is in the audit records.",
		Args: a.noSuchVerb,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	a.Machine.Flags(c.PersistentFlags())
	c.AddCommand(a.resetPasswordCommand(), a.adminSessionsCommand())
	return c
}

func (a *App) resetPasswordCommand() *cobra.Command {
	var account string
	c := &cobra.Command{
		Use: "reset-password", Short: "Give an account a new password and end its sessions",
		Long: "Asks for the new password twice, or reads it from stdin when that is no terminal. It is never an argument\n" +
			"or a variable of the environment, which others can read. Access keys of the account stay as they are.",
		Example: "  kumo admin reset-password\n  kumo admin reset-password --account ann < file",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			password, err := a.newPassword()
			if err != nil {
				return err
			}
			name, ended, err := a.Machine.ResetPassword(cmd.Context(), account, password)
			if err != nil {
				return err
			}
			a.say(a.words("account %s has a new password; sessions ended: %d", "账户 %s 的密码已重置；已结束 %d 个会话"), name, ended)
			return nil
		},
	}
	c.Flags().StringVar(&account, "account", "", "name of the account (default: the first administrator)")
	return c
}

// newPassword asks for a password twice, or reads it from stdin.
func (a *App) newPassword() (string, error) {
	what := a.words("new password", "新密码")
	var password string
	if a.Terminal {
		var err error
		if password, err = a.secret(what, "", "", ""); err != nil {
			return "", err
		}
		again, err := a.secret(a.words("the same once more", "再次输入"), "", "", "")
		if err != nil {
			return "", err
		}
		if again != password {
			return "", errs.New(errs.Invalid, what, "%s", a.words("the two differ; nothing was changed", "两次输入不一致；未作任何更改"))
		}
	} else {
		text, err := io.ReadAll(io.LimitReader(a.In, maxFile))
		if err != nil {
			return "", errs.Wrap(errs.Invalid, what, err, "cannot be read")
		}
		password = strings.TrimRight(string(text), "\r\n")
	}
	if password == "" {
		return "", errs.New(errs.Invalid, what, "%s", a.words("it must not be empty; nothing was changed", "不能为空；未作任何更改"))
	}
	return password, nil
}

func (a *App) adminSessionsCommand() *cobra.Command {
	var account string
	var end bool
	c := &cobra.Command{
		Use: "sessions", Short: "List the sessions, or end them",
		Example: "  kumo admin sessions\n  kumo admin sessions --end --account ann",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := a.format()
			if err != nil {
				return err
			}
			if end {
				n, err := a.Machine.EndSessions(cmd.Context(), account)
				if err == nil {
					a.say(a.words("sessions ended: %d", "已结束 %d 个会话"), n)
				}
				return err
			}
			sessions, err := a.Machine.Sessions(cmd.Context(), account)
			if err != nil {
				return err
			}
			columns := []render.Column{{Title: a.words("SESSION", "会话"), Path: "session"}, {Title: a.words("ACCOUNT", "账户"), Path: "account"},
				{Title: a.words("CREATED", "创建时间"), Path: "createDate"}, {Title: a.words("LAST USE", "最近使用"), Path: "lastUseDate"},
				{Title: a.words("ENDS", "到期时间"), Path: "expiredDate"}}
			return render.List(a.Out, f, columns, "session", sessions)
		},
	}
	c.Flags().StringVar(&account, "account", "", "name of the account (default: all)")
	c.Flags().BoolVar(&end, "end", false, "end the sessions")
	return c
}
