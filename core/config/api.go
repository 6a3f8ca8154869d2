package config

import (
	"cmp"
	"context"
	"slices"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

type named struct {
	Category string `api:"category,required"`
	Name     string `api:"name,required"`
}

type updateParams struct {
	named
	Value *string `api:"value,notrim,most=65536"`
}

type onResource struct {
	named
	ResourceUUID string `api:"resourceUuid,path,required,anytype"`
}

type updateForParams struct {
	onResource
	Value string `api:"value,required,notrim,most=65536"`
}

type updateManyParams struct {
	ResourceUUID    string         `api:"resourceUuid,path,required,anytype"`
	ResourceConfigs []configChange `api:"resourceConfigs,required,nonempty,most=65536"`
}

type configChange struct {
	Category string `json:"category"`
	Name     string `json:"name"`
	Value    string `json:"value"`
}

type getManyParams struct {
	Category     string   `api:"category,path,required"`
	Names        []string `api:"names,required,nonempty"`
	ResourceUUID string   `api:"resourceUuid,path,required,anytype"`
}

type bindableParams struct {
	Category string `api:"category"`
}

// inventory is a ResourceConfig on the wire.
type inventory struct {
	UUID         string `json:"uuid"`
	ResourceUUID string `json:"resourceUuid"`
	ResourceType string `json:"resourceType"`
	Name         string `json:"name"`
	Description  string `json:"description,omitempty"`
	Category     string `json:"category"`
	Value        string `json:"value"`
	CreateDate   string `json:"createDate"`
	LastOpDate   string `json:"lastOpDate"`
}

type configStruct struct {
	Name      string      `json:"name"`
	Value     string      `json:"value"`
	Effective []inventory `json:"effectiveConfigs"`
}

type getReply struct {
	Value     string      `json:"value"`
	Effective []inventory `json:"effectiveConfigs"`
	Success   bool        `json:"success"`
}

type configsReply struct {
	Configs []configStruct `json:"configs"`
}

type inventoriesReply struct {
	Inventories []configStruct `json:"inventories"`
}

type options struct {
	ValidValue  []string `json:"validValue,omitempty"`
	GreaterOrEq *int64   `json:"numberGreaterThanOrEqual,omitempty"`
	LessOrEq    *int64   `json:"numberLessThanOrEqual,omitempty"`
}

type optionsReply struct {
	Options options `json:"options"`
}

type bindable struct {
	Name        string   `json:"name"`
	Category    string   `json:"category"`
	Description string   `json:"description,omitempty"`
	Types       []string `json:"bindResourceTypes"`
}

type bindableReply struct {
	Configs []bindable `json:"bindableConfigs"`
}

// Register adds the API messages of settings.
func (s *Service) Register(r *action.Registry) {
	s.actions = r
	const perResource = "/resource-configurations/{category}/{name}/{resourceUuid}"
	action.Register(r, action.Action{Message: "APIUpdateGlobalConfigMsg", Method: "PUT", Path: "/global-configurations/{category}/{name}/actions",
		Async: true, Access: action.Admin, Queue: "name", Returns: "GlobalConfig", Doc: "Sets a global setting."}, s.apiUpdate)
	action.Register(r, action.Action{Message: "APIResetGlobalConfigMsg", Method: "PUT", Path: "/global-configurations/actions",
		Async: true, Access: action.Admin, Doc: "Gives every global setting its default."}, s.apiReset)
	action.Register(r, action.Action{Message: "APIGetGlobalConfigOptionsMsg", Method: "GET", Path: "/global-configurations/{category}/{name}",
		Access: action.Normal, Doc: "Tells which values a setting may have."}, s.apiOptions)
	action.Register(r, action.Action{Message: "APIUpdateResourceConfigMsg", Method: "PUT", Path: perResource + "/actions",
		Async: true, Access: action.Normal, Queue: "resourceUuid", Returns: "ResourceConfig", View: action.View{Verb: "set"},
		Doc: "Gives a resource its own value of a setting."}, s.apiUpdateFor)
	action.Register(r, action.Action{Message: "APIUpdateResourceConfigsMsg", Method: "POST", Path: "/resource-configurations/{resourceUuid}/resource-configs/actions",
		Async: true, Access: action.Normal, Queue: "resourceUuid", Doc: "Gives a resource its own values of several settings."}, s.apiUpdateMany)
	action.Register(r, action.Action{Message: "APIDeleteResourceConfigMsg", Method: "DELETE", Path: perResource,
		Async: true, Access: action.Normal, Queue: "resourceUuid", Removes: action.Removes(s.goneOverride),
		View: action.View{Verb: "reset"}, Doc: "Takes a resource's own value of a setting away."}, s.apiDelete)
	action.Register(r, action.Action{Message: "APIGetResourceConfigMsg", Method: "GET", Path: "/resource-configurations/{resourceUuid}/{category}/{name}",
		Access: action.Normal, Doc: "Tells the value of a setting for a resource."}, s.apiGet)
	action.Register(r, action.Action{Message: "APIGetResourceConfigsMsg", Method: "GET", Path: "/resource-configurations/{resourceUuid}/{category}",
		Access: action.Normal, Doc: "Tells the values of several settings for a resource."}, s.apiGetMany)
	action.Register(r, action.Action{Message: "APIGetResourceBindableConfigMsg", Method: "GET", Path: "/resource-configurations/bindable",
		Optional: []string{"/resource-configurations/bindable/{category}"}, Access: action.Normal, Doc: "Lists the settings that resources may have their own values of."}, s.apiBindable)
}

func (s *Service) apiUpdate(ctx context.Context, c *action.Call, p *updateParams) (action.Ref, error) {
	if p.Value == nil {
		return action.Ref{}, errs.New(errs.Invalid, "parameter value of "+c.Message, "it is required")
	}
	uuid, err := s.Set(ctx, p.Category, p.Name, *p.Value)
	return action.Ref{Type: "GlobalConfig", UUID: uuid}, err
}

func (s *Service) apiReset(ctx context.Context, _ *action.Call, _ *struct{}) (action.Empty, error) {
	return action.Empty{}, s.Reset(ctx)
}

func (s *Service) apiOptions(_ context.Context, _ *action.Call, p *named) (optionsReply, error) {
	d, err := s.lookup(p.Category, p.Name)
	if err != nil {
		return optionsReply{}, err
	}
	o := options{ValidValue: d.Values}
	if d.Type == "bool" && len(d.Values) == 0 {
		o.ValidValue = []string{"true", "false"}
	}
	if d.Min != 0 || d.Max != 0 {
		lo := int64(d.Min)
		o.GreaterOrEq = &lo
	}
	if d.Max != 0 {
		hi := int64(d.Max)
		o.LessOrEq = &hi
	}
	return optionsReply{Options: o}, nil
}

// authorize checks that the caller may see or change a resource's settings.
func (s *Service) authorize(ctx context.Context, c *action.Call, d *Setting, uuid string, write bool) error {
	typ, err := s.typeOf(ctx, s.store, d, uuid)
	if err != nil {
		return err
	}
	if typ == nil {
		return errs.New(errs.NotFound, "resource "+uuid, "there is none of the types %q that can have %s", d.Resources, d.label())
	}
	if write && !c.Caller.Admin && !s.store.Registry().Root(typ).Owned {
		return errs.New(errs.Denied, typ.Name+" "+uuid, "only the admin account may change its settings")
	}
	return s.actions.Authorize(ctx, c.Caller, action.Target{Type: typ.Name, UUID: uuid}, write)
}

func (s *Service) apiUpdateFor(ctx context.Context, c *action.Call, p *updateForParams) (action.Ref, error) {
	d, err := s.bindable(p.Category, p.Name)
	if err == nil {
		err = s.authorize(ctx, c, d, p.ResourceUUID, true)
	}
	if err != nil {
		return action.Ref{}, err
	}
	uuid, err := s.SetFor(ctx, p.Category, p.Name, p.ResourceUUID, p.Value)
	return action.Ref{Type: "ResourceConfig", UUID: uuid}, err
}

// apiUpdateMany sets all values or none.
func (s *Service) apiUpdateMany(ctx context.Context, c *action.Call, p *updateManyParams) (inventoriesReply, error) {
	settings := make([]*Setting, len(p.ResourceConfigs))
	values := make([]parsed, len(p.ResourceConfigs))
	for i, r := range p.ResourceConfigs {
		d, err := s.bindable(r.Category, r.Name)
		if err == nil {
			err = s.authorize(ctx, c, d, p.ResourceUUID, true)
		}
		if err == nil {
			values[i], err = d.parse(r.Value)
		}
		if err != nil {
			return inventoriesReply{}, err
		}
		settings[i] = d
	}
	err := s.store.Update(ctx, func(tx *store.Tx) error {
		for i, d := range settings {
			if _, err := s.setFor(ctx, tx, d, p.ResourceUUID, values[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return inventoriesReply{}, err
	}
	list, err := s.structs(ctx, settings, p.ResourceUUID)
	return inventoriesReply{Inventories: list}, err
}

// goneOverride is the plan of taking a resource's own value away.
func (s *Service) goneOverride(ctx context.Context, c *action.Call, p *onResource) (action.Removal, error) {
	d, err := s.bindable(p.Category, p.Name)
	if err == nil {
		err = s.authorize(ctx, c, d, p.ResourceUUID, true)
	}
	if err != nil {
		return action.Removal{}, err
	}
	typ, err := s.typeOf(ctx, s.store, d, p.ResourceUUID)
	if err != nil {
		return action.Removal{}, err
	}
	r := action.Removal{Subject: action.Row{Type: typ.Name, UUID: p.ResourceUUID}}
	rows, err := store.Find(ctx, s.store, ResourceConfigType, "`resourceUuid` = ? AND `category` = ? AND `name` = ?", p.ResourceUUID, p.Category, p.Name)
	for _, row := range rows {
		r.Rows = append(r.Rows, action.Row{Type: ResourceConfigType.Name, UUID: row.UUID})
	}
	return r, err
}

func (s *Service) apiDelete(ctx context.Context, c *action.Call, p *onResource) (action.Empty, error) {
	d, err := s.bindable(p.Category, p.Name)
	if err != nil {
		return action.Empty{}, err
	}
	switch err := s.authorize(ctx, c, d, p.ResourceUUID, true); {
	case errs.ClassOf(err) == errs.NotFound && action.IsUUID(p.ResourceUUID):
		return action.Empty{}, nil // its settings went with it
	case err != nil:
		return action.Empty{}, err
	}
	return action.Empty{}, s.ClearFor(ctx, p.Category, p.Name, p.ResourceUUID)
}

func (s *Service) apiGet(ctx context.Context, c *action.Call, p *onResource) (getReply, error) {
	d, err := s.bindable(p.Category, p.Name)
	if err == nil {
		err = s.authorize(ctx, c, d, p.ResourceUUID, false)
	}
	if err != nil {
		return getReply{}, err
	}
	list, err := s.structs(ctx, []*Setting{d}, p.ResourceUUID)
	if err != nil {
		return getReply{}, err
	}
	return getReply{Value: list[0].Value, Effective: list[0].Effective, Success: true}, nil
}

func (s *Service) apiGetMany(ctx context.Context, c *action.Call, p *getManyParams) (configsReply, error) {
	var settings []*Setting
	for _, name := range p.Names {
		d, err := s.bindable(p.Category, name)
		if err == nil {
			err = s.authorize(ctx, c, d, p.ResourceUUID, false)
		}
		if err != nil {
			return configsReply{}, err
		}
		settings = append(settings, d)
	}
	list, err := s.structs(ctx, settings, p.ResourceUUID)
	return configsReply{Configs: list}, err
}

func (s *Service) structs(ctx context.Context, settings []*Setting, uuid string) ([]configStruct, error) {
	out := make([]configStruct, 0, len(settings))
	for _, d := range settings {
		value, rows, err := s.effective(ctx, d, uuid)
		if err != nil {
			return nil, err
		}
		cs := configStruct{Name: d.Name, Value: value, Effective: []inventory{}}
		for _, r := range rows {
			cs.Effective = append(cs.Effective, inventory{UUID: r.UUID, ResourceUUID: r.ResourceUUID, ResourceType: r.ResourceType, Name: r.Name,
				Description: r.Description, Category: r.Category, Value: r.Value,
				CreateDate: action.FormatTime(r.CreateDate.Time), LastOpDate: action.FormatTime(r.LastOpDate.Time)})
		}
		out = append(out, cs)
	}
	return out, nil
}

func (s *Service) apiBindable(_ context.Context, _ *action.Call, p *bindableParams) (bindableReply, error) {
	out := bindableReply{Configs: []bindable{}}
	for _, d := range s.Settings() {
		if len(d.Resources) == 0 || (p.Category != "" && p.Category != d.Category) {
			continue
		}
		b := bindable{Name: d.Name, Category: d.Category, Description: d.Doc}
		for _, t := range d.Resources {
			b.Types = append(b.Types, t+"VO")
		}
		out.Configs = append(out.Configs, b)
	}
	slices.SortFunc(out.Configs, func(a, b bindable) int {
		return cmp.Or(cmp.Compare(a.Category, b.Category), cmp.Compare(a.Name, b.Name))
	})
	return out, nil
}
