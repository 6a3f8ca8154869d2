package provider

import (
	"context"
	"net/http"
	"regexp"
	"slices"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// price is what something costs.
type price struct {
	Amount   string `json:"amount"`
	Currency string `json:"currency"`
	Unit     string `json:"unit"`
	Period   string `json:"period"`
}

var (
	amounts    = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?$`)
	currencies = regexp.MustCompile(`^[A-Z]{3}$`)
)

// registerPrice registers GET <path>/price with the parameters of create, but for
// secrets, which are in no URL, and name and description, which cost nothing.
func (s *Service) registerPrice(t *served) error {
	if !t.GetPriced() {
		return nil
	}
	open := slices.DeleteFunc(t.settable(false), (*pluginv1.Field).GetSecret)
	params := slices.DeleteFunc(t.params(false), func(p action.Param) bool { return p.Secret })
	a := action.Action{Message: "APIGet" + t.GetName() + "PriceMsg", Method: http.MethodGet, Path: t.GetPath() + "/price", Access: t.access(t.GetCreate().GetAccess()),
		Params: params, Plugin: t.plugin, View: action.View{Type: t.GetName(), Subject: "-"}, Doc: "Tells what a new " + t.spoken() + " would cost."}
	return action.RegisterDynamicAs(s.k.Actions, a, func(ctx context.Context, _ *action.Call, p map[string]any) (price, error) {
		v, err := s.given(a.Message, p, open)
		if err != nil {
			return price{}, err
		}
		return s.price(ctx, t, v)
	})
}

func (s *Service) price(ctx context.Context, t *served, v values) (price, error) {
	if err := s.enabled(t); err != nil {
		return price{}, err
	}
	p, err := s.k.Plugins.HybridCloud(t.GetName())
	if err != nil {
		return price{}, err
	}
	req := &pluginv1.PriceRequest{Type: t.GetName()}
	if req.Params, err = v.proto(); err != nil {
		return price{}, err
	}
	if req.Refs, err = s.foreignRefs(ctx, s.k.Store, t, v); err != nil {
		return price{}, err
	}
	if endpoint, _ := v[t.GetForeign().GetEndpoint()].(string); endpoint != "" {
		if req.Endpoint, err = s.endpoint(ctx, s.k.Store, t.GetForeign().GetEndpointType(), endpoint); err != nil {
			return price{}, err
		}
	}
	r, err := p.Price(ctx, req)
	if err != nil {
		return price{}, errs.Wrap(errs.ClassOf(err), t.GetName(), err, "plugin %s does not tell its price", t.plugin)
	}
	if !amounts.MatchString(r.GetAmount()) || !currencies.MatchString(r.GetCurrency()) {
		return price{}, errs.New(errs.Internal, "plugin "+t.plugin, "it tells the price %q %q of a %s, which is none", r.GetAmount(), r.GetCurrency(), t.GetName())
	}
	return price{r.GetAmount(), r.GetCurrency(), r.GetUnit(), r.GetPeriod()}, nil
}
