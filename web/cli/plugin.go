package cli

import (
	"cmp"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/kumo-cloud/kumo/pluginsdk/template"
)

func (a *App) pluginCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "plugin", Short: "Run plugins, and write new ones",
		Args: a.noSuchVerb,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var dir string
	add := &cobra.Command{
		Use:   "new NAME",
		Short: "Write the source of a new plugin that works, with its test",
		Long: "Writes a primary storage that keeps volumes in a folder of each host, and its conformance test,\n" +
			"for you to change. Inside Kumo's own tree, write it to plugins/NAME: make build finds it there.",
		Example: "  kumo plugin new mystorage --dir plugins/mystorage",
		Args:    a.exactly(a.words("the plugin's name", "插件名"), 1),
		RunE: func(_ *cobra.Command, args []string) error {
			into := cmp.Or(dir, args[0])
			if err := template.New(into, args[0]); err != nil {
				return err
			}
			a.say("wrote plugin %s to %s; run its test: cd %s && go test .", args[0], into, filepath.Clean(into))
			return nil
		},
	}
	add.Flags().StringVar(&dir, "dir", "", "folder to write to (default: one with the plugin's name)")
	c.AddCommand(add)
	return c
}
