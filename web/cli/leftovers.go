package cli

import (
	"cmp"
	"encoding/json"
)

// sayLeft names what a delete has left behind, such as guests of a host that does not
// answer.
func (a *App) sayLeft(answer json.RawMessage) {
	var left struct {
		List []struct {
			Type   string `json:"resourceType"`
			UUID   string `json:"resourceUuid"`
			Name   string `json:"name"`
			Reason string `json:"reason"`
		} `json:"leftovers"`
		More int `json:"moreLeftovers"`
	}
	if json.Unmarshal(answer, &left) != nil {
		return
	}
	for _, one := range left.List {
		title := one.Type
		if t := a.doc.Types[one.Type]; t != nil {
			title = t.Title(a.language())
		}
		a.say(a.words("left behind: %s %s: %s", "残留：%s %s：%s"), title, cmp.Or(one.Name, one.UUID), one.Reason)
	}
	if left.More > 0 {
		a.say(a.words("left behind: %d more, see kumo gc ls", "另有 %d 项残留，见 kumo gc ls"), left.More)
	}
}
