package image

import (
	"cmp"
	"context"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/hook"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/pluginsdk/outbound"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// addParams are the parameters of APIAddImageMsg. The url's fragment is the
// checksum for the store's plugin (AddImageRequest).
type addParams struct {
	Name         string   `api:"name,required,max=255"`
	Description  string   `api:"description,max=2048"`
	URL          string   `api:"url,required,max=1024,secret,widget=upload" doc:"Where the bytes are. It may end in #KIND:HEX, or in #KIND: and the http URL of a list of checksums that has the file by its name, such as #sha512:https://host/SHA512SUMS; the bytes are compared. KIND is md5, sha1, sha256 or sha512."`
	MediaType    string   `api:"mediaType,values=RootVolumeTemplate|ISO|DataVolumeTemplate"`
	GuestOSType  string   `api:"guestOsType,max=255,section=system"`
	Architecture string   `api:"architecture,max=32,values=x86_64|aarch64|mips64el|loongarch64,section=system"`
	System       bool     `api:"system,default=false"`
	Format       string   `api:"format"`
	Platform     string   `api:"platform,values=Linux|Windows|Other|Paravirtualization|WindowsVirtio,section=system"`
	Stores       []string `api:"backupStorageUuids,required,nonempty,resource=BackupStorage" where:"state=Enabled status=Connected"`
	Type         string   `api:"type"`
	UsualDrivers bool     `api:"virtio,default=true,section=system"`
}

// addTimeout bounds the adding of an image, as upstream does; a source that
// stalls is noticed much earlier by the store's plugin.
const addTimeout = 72 * time.Hour

// addImage is the state of the flow that adds an image.
type addImage struct {
	Row      Image
	URL      string
	Guarded  bool // whoever names the URL does not administer the cloud
	Checksum string
	Refs     []*copyPlan
	Tags     []string
	UserTags []string
	Points   hook.Points `json:",omitempty"` // what plugins do when the bytes are there
}

// copyPlan is one copy of the image: its store and, when it worked, its place.
type copyPlan struct {
	RefUUID, StoreUUID string
	UploadURL          string // where the client sends the bytes of an upload
	Done               bool
	Path, MD5          string
	Size, Actual       int64
	Format             string
}

// pointDownloaded is the point at which plugins may look at an image.
const pointDownloaded = "image.add.downloaded"

func (s *Service) declarePoints() {
	s.Hooks.Declare(pointDownloaded, "The bytes of an image are in its backup storages, and nobody can use it yet. "+
		"Subject: Image, its uuid. A failure removes the image.")
}

func (s *Service) registerAdd() {
	action.Register(s.Actions, action.Action{
		Message: "APIAddImageMsg", Method: "POST", Path: "/images", Key: "params", Async: true, Create: true,
		Access: action.Normal, Returns: "Image", Kind: "image", Timeout: addTimeout, View: action.View{Progress: true},
		Doc: "Adds an image by URL to one or more backup storages. With a URL that begins with upload:// " +
			"the answer comes before the bytes, and its install path is where to send them.",
	}, func(ctx context.Context, c *action.Call, p *addParams) (action.Ref, error) {
		st, err := s.newImage(ctx, c, p)
		if err != nil {
			return action.Ref{}, err
		}
		ref := action.Ref{Type: "Image", UUID: st.Row.UUID}
		for _, c := range st.Refs {
			_, end := s.adds.begin(st.Row.UUID, c.StoreUUID)
			defer end()
		}
		err = flow.Run(ctx, s.Flows, s.adding, st,
			flow.Options{Job: c.Job, Key: ref.UUID, ResourceType: ref.Type, ResourceUUID: ref.UUID})
		if err != nil && isUpload(st) && !flow.IsStopped(err) { // the call has been answered
			s.Log.Warn("upload failed, its image is removed", "image", ref.UUID, "name", p.Name, "error", err)
		}
		return ref, err
	})
}

// remoteSchemes are those of URLs whose bytes a server, or the client itself,
// gives to whoever may have them. By any other a store reads what is its own or
// its machine's: file:///var/lib/kumo/... would be everybody's secrets.
var remoteSchemes = []string{"http", "https", "ftp", "sftp", "upload"}

// checkSource refuses a URL that the caller may not have read. The text may hold
// a password, so no message repeats it.
func checkSource(c action.Caller, text string) error {
	u, err := url.Parse(text)
	if err != nil {
		return errs.New(errs.Invalid, "parameter url", "is no URL")
	}
	if c.Admin || slices.Contains(remoteSchemes, u.Scheme) {
		return nil
	}
	return errs.New(errs.Denied, "parameter url", "begins with %q, which only an administrator may have read", u.Scheme+":").
		WithAdvice("use %s", strings.Join(remoteSchemes, ", "))
}

// shownURL is what of a source's URL is kept and shown: user, password and query
// open something, and once the bytes are there nobody needs them again.
func shownURL(text string) string {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return "" // checkSource refuses it
	case strings.HasPrefix(text, uploadScheme):
		return text // it is a name
	}
	return outbound.Shown(u)
}

// hideURLs takes the secrets out of images' URLs that were added when these were
// still kept.
func (s *Service) hideURLs(ctx context.Context) error {
	old, err := store.Sound(ctx, s.Store, ImageType, store.PassedOver(s.Log), "`url` LIKE '%?%' OR `url` LIKE '%@%'")
	if err != nil {
		return err
	}
	for _, img := range old {
		shown := shownURL(img.URL)
		if shown == img.URL {
			continue
		}
		err := s.Store.Update(ctx, func(tx *store.Tx) error {
			return store.Set(ctx, tx, ImageType.Type, img.UUID, map[string]any{"url": shown})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) newImage(ctx context.Context, c *action.Call, p *addParams) (*addImage, error) {
	if err := checkSource(c.Caller, p.URL); err != nil {
		return nil, err
	}
	st := &addImage{Points: s.Hooks.At(pointDownloaded), Tags: c.SystemTags, UserTags: c.UserTags, Guarded: !c.Caller.Admin}
	st.URL, st.Checksum, _ = strings.Cut(p.URL, "#")
	media, format := cmp.Or(p.MediaType, RootVolumeTemplate), strings.ToLower(p.Format)
	if media == ISO || format == "iso" {
		media, format = ISO, "iso"
	}
	st.Row = Image{State: Enabled, Status: Downloading, URL: shownURL(st.URL), MediaType: media, GuestOSType: p.GuestOSType,
		Type: cmp.Or(p.Type, "zstack"), Platform: cmp.Or(p.Platform, "Linux"), Architecture: cmp.Or(p.Architecture, "x86_64"),
		Format: cmp.Or(format, "qcow2"), System: p.System, UsualDrivers: p.UsualDrivers}
	st.Row.UUID, st.Row.Name, st.Row.Description = c.ResourceUUID, p.Name, p.Description
	st.Row.AccountUUID = c.Caller.AccountUUID
	seen := map[string]bool{}
	for _, uuid := range p.Stores {
		if seen[uuid] {
			return nil, errs.New(errs.Invalid, "backupStorageUuids", "names %s twice", uuid)
		}
		seen[uuid] = true
		bs, err := store.Get(ctx, s.Store, BackupStorageType, uuid)
		if err != nil {
			return nil, err
		}
		if bs.State != Enabled || bs.Status != Connected {
			return nil, errs.New(errs.Refused, "backup storage "+bs.Name, "is %s and %s", bs.State, bs.Status).
				WithAdvice("enable and reconnect it, or name another one")
		}
		if _, err := s.room(ctx, bs); err != nil {
			return nil, err
		}
		st.Refs = append(st.Refs, &copyPlan{RefUUID: resource.NewUUID(), StoreUUID: uuid})
	}
	return st, nil
}

// addFlow makes the rows, downloads to all stores at once, and keeps the
// copies that worked; when none did, nothing is left (spec: section 5). Who
// adds an upload is answered as soon as it can be sent.
func (s *Service) addFlow() *flow.Def[addImage] {
	return flow.Define("add-image",
		flow.Tx("insert", s.insertImage, func(ctx context.Context, tx *store.Tx, st *addImage) error {
			return s.removeRows(ctx, tx, st.Row.UUID)
		}),
		flow.Do("open-upload", s.openUpload, nil).When(isUpload),
		flow.Tx("tell-address", s.tellAddress, nil).When(isUpload).Answers(),
		flow.Do("download", s.download, func(ctx context.Context, st *addImage) error {
			for _, c := range st.Refs {
				if err := s.removeBits(ctx, c.StoreUUID, st.Row.UUID, c.Path); err != nil {
					return err
				}
			}
			return nil
		}).Timeout(addTimeout),
		hook.Step(s.Hooks, "downloaded", pointDownloaded, func(st *addImage) *hook.Points { return &st.Points },
			func(st *addImage) *pluginv1.PointSubject {
				return &pluginv1.PointSubject{Type: ImageType.Name, Uuid: st.Row.UUID}
			}),
		flow.Tx("finish", s.finishImage, s.unfinishImage),
		flow.Do("recount", s.recount, nil),
	)
}

func (s *Service) insertImage(ctx context.Context, tx *store.Tx, st *addImage) error {
	if err := store.Insert(ctx, tx, ImageType, &st.Row); err != nil {
		return err
	}
	for _, c := range st.Refs {
		if err := cascade.Guard(ctx, tx, BackupStorageType.Name, c.StoreUUID); err != nil {
			return err
		}
		row := &ImageBackupStorageRef{ImageUUID: st.Row.UUID, BackupStorageUUID: c.StoreUUID, Status: Downloading}
		row.UUID = c.RefUUID
		if err := store.Insert(ctx, tx, ImageRefType, row); err != nil {
			return err
		}
	}
	return s.Tags.CreateAll(ctx, tx, "Image", st.Row.UUID, st.Tags, st.UserTags)
}

func (s *Service) download(ctx context.Context, st *addImage) error {
	failures := make([]error, len(st.Refs))
	var wg sync.WaitGroup
	for i, c := range st.Refs {
		wg.Add(1)
		go func() { defer wg.Done(); failures[i] = s.downloadTo(ctx, st, c) }()
	}
	wg.Wait()
	if err := flow.Stopped(ctx); err != nil && slices.ContainsFunc(failures, func(e error) bool { return e != nil }) {
		return err // the next server downloads what is missing
	}
	for i, c := range st.Refs {
		if failures[i] == nil {
			continue
		}
		if len(st.Refs) == 1 {
			return failures[i]
		}
		s.Log.Warn("image copy failed", "image", st.Row.UUID, "backupStorage", c.StoreUUID, "error", failures[i])
	}
	for _, c := range st.Refs {
		if c.Done {
			return nil
		}
	}
	return failures[0]
}

func (s *Service) downloadTo(ctx context.Context, st *addImage, c *copyPlan) error {
	target, plug, err := s.plugin(ctx, c.StoreUUID)
	if err != nil {
		return err
	}
	deleted, end := s.adds.begin(st.Row.UUID, c.StoreUUID)
	defer end()
	ctx, cancel := flow.UntilStop(ctx)
	defer cancel()
	defer context.AfterFunc(deleted, cancel)()
	url := st.URL
	if isUpload(st) {
		url = uploadScheme + st.Row.UUID // what clients call it is between them and us
	}
	bs, err := store.Get(ctx, s.Store, BackupStorageType, c.StoreUUID)
	if err != nil {
		return err
	}
	if err := s.measure(ctx, bs); err != nil {
		return err
	}
	room, err := s.room(ctx, bs)
	if err != nil {
		return err
	}
	usable := s.usableFormats(plug.Decl)
	r, err := plug.AddImage(ctx, &pluginv1.AddImageRequest{Store: target, ImageUuid: st.Row.UUID, Url: url, Format: st.Row.Format,
		Checksum: st.Checksum, MaxBytes: room, UsableFormats: usable, Reach: s.reach(ctx, st)})
	if err != nil && deleted.Err() != nil {
		return errs.Wrap(errs.Cancelled, "image "+st.Row.Name, err, "was deleted while it was being added to backup storage %s", target.GetName())
	}
	if err != nil {
		return errs.Wrap(errs.ClassOf(err), "image "+st.Row.Name, err, "cannot be added to backup storage %s", target.GetName())
	}
	c.Done, c.Path, c.MD5, c.Size, c.Actual = true, r.GetInstallPath(), r.GetMd5(), r.GetSizeBytes(), r.GetActualBytes()
	c.Format = cmp.Or(r.GetFormat(), st.Row.Format)
	if len(usable) > 0 && !slices.Contains(usable, c.Format) {
		// Its plugin took what nobody can use; the step's undo removes the copy.
		c.Done = false
		return errs.New(errs.Unsupported, "image "+st.Row.Name, "has format %s, and no primary storage can use it", c.Format).
			WithAdvice("add it in one of %s", strings.Join(usable, ", "))
	}
	return nil
}

// reach says where an image's source may be.
func (s *Service) reach(ctx context.Context, st *addImage) *pluginv1.Reach {
	r := &pluginv1.Reach{Guarded: st.Guarded}
	for _, n := range s.Config.AllowedNetworks(ctx) {
		r.Networks = append(r.Networks, n.String())
	}
	return r
}

// recount reads what the stores of an image that was added have free: a look at
// one while the image was there, but not counted yet, had it counted twice. A
// store that does not tell is looked at soon.
func (s *Service) recount(ctx context.Context, st *addImage) error {
	for _, c := range st.Refs {
		if !c.Done {
			continue
		}
		if err := s.check(ctx, c.StoreUUID); err != nil {
			s.Log.Warn("free space not read after an image was added", "backupStorage", c.StoreUUID, "error", err)
		}
	}
	return nil
}

// room returns how many bytes the store has for an image. Errors: Exhausted when
// it has none beside what is reserved.
func (s *Service) room(ctx context.Context, bs *BackupStorage) (int64, error) {
	reserved := s.Config.Int64(ctx, "backupStorage", "reservedCapacity", bs.UUID)
	if room := bs.AvailableCapacity - reserved; room > 0 {
		return room, nil
	}
	return 0, errs.New(errs.Exhausted, "backup storage "+bs.Name, "has %d bytes available, of which %d are reserved", bs.AvailableCapacity, reserved).
		WithAdvice("free or add disk space, or lower its setting backupStorage/reservedCapacity")
}

// usableFormats are the formats of images that some primary storage can use
// which reads from this kind of store; none means that any can be used.
func (s *Service) usableFormats(d *pluginv1.BackupStorageDecl) []string {
	var formats []string
	for _, m := range s.Plugins.Manifests() {
		for _, ps := range m.GetPrimaryStorages() {
			if types := d.GetPrimaryStorageTypes(); len(types) > 0 && !slices.Contains(types, ps.GetType()) {
				continue
			}
			if len(ps.GetImageFormats()) == 0 {
				return nil
			}
			for _, f := range ps.GetImageFormats() {
				if !slices.Contains(formats, f) {
					formats = append(formats, f)
				}
			}
		}
	}
	return formats
}

func (s *Service) finishImage(ctx context.Context, tx *store.Tx, st *addImage) error {
	var good *copyPlan
	for _, c := range st.Refs {
		if !c.Done {
			if err := store.Delete(ctx, tx, ImageRefType.Type, c.RefUUID); err != nil {
				return err
			}
			continue
		}
		good = c
		if err := store.Set(ctx, tx, ImageRefType.Type, c.RefUUID, map[string]any{"status": Ready, "installPath": c.Path}); err != nil {
			return err
		}
		if err := s.take(ctx, tx, c); err != nil {
			return err
		}
	}
	return store.Set(ctx, tx, ImageType.Type, st.Row.UUID, map[string]any{
		"status": Ready, "size": good.Size, "actualSize": good.Actual, "md5Sum": good.MD5, "format": good.Format})
}

// unfinishImage gives back what finishImage took, once.
func (s *Service) unfinishImage(ctx context.Context, tx *store.Tx, st *addImage) error {
	img, found, err := store.First(ctx, tx, ImageType, "`uuid` = ? AND `status` = ?", st.Row.UUID, Ready)
	if err != nil || !found {
		return err
	}
	for _, c := range st.Refs {
		if !c.Done {
			continue
		}
		if err := giveBack(ctx, tx, img.UUID, c.StoreUUID); err != nil {
			return err
		}
	}
	return store.Set(ctx, tx, ImageType.Type, img.UUID, map[string]any{"status": Downloading})
}

// take counts a copy in its store. Errors: Exhausted when others have taken what
// was there when it began.
func (s *Service) take(ctx context.Context, tx *store.Tx, c *copyPlan) error {
	reserved := s.Config.Int64(ctx, "backupStorage", "reservedCapacity", c.StoreUUID)
	n, err := tx.Exec(ctx, "UPDATE `BackupStorage` SET `availableCapacity` = `availableCapacity` - ? WHERE `uuid` = ? AND `availableCapacity` - ? >= ?",
		c.Actual, c.StoreUUID, reserved, c.Actual)
	if err == nil && n == 0 {
		err = errs.New(errs.Exhausted, "backup storage "+c.StoreUUID, "has no room for %d bytes beside the %d that are reserved", c.Actual, reserved).
			WithAdvice("free or add disk space, or lower its setting backupStorage/reservedCapacity")
	}
	return err
}

// removeRows removes an image with its references and tags; gone is a success.
func (s *Service) removeRows(ctx context.Context, tx *store.Tx, uuid string) error {
	if _, err := tx.Exec(ctx, "DELETE FROM `ImageBackupStorageRef` WHERE `imageUuid` = ?", uuid); err != nil {
		return err
	}
	return s.Tags.DeleteRow(ctx, tx, ImageType.Type, uuid)
}

// removeBits deletes one copy; a store or a copy that is gone is a success.
func (s *Service) removeBits(ctx context.Context, storeUUID, imageUUID, path string) error {
	target, plug, err := s.plugin(ctx, storeUUID)
	if errs.ClassOf(err) == errs.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = plug.DeleteImage(ctx, &pluginv1.DeleteImageRequest{Store: target, ImageUuid: imageUUID, InstallPath: path})
	return err
}
