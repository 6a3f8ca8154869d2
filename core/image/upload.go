package image

import (
	"context"
	"strings"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// uploadScheme begins the URL of an image that its client sends itself: the
// client adds the image and sends the bytes to the address that is the install
// path of the answer, as long as the image is Downloading; that address can also
// be asked for here.
const uploadScheme = "upload://"

func isUpload(st *addImage) bool { return strings.HasPrefix(st.URL, uploadScheme) }

// uploadParams names an image by its UUID, or by what its URL has after
// upload://.
type uploadParams struct {
	ImageID string `api:"imageId,required,path"`
}

// uploadJob is one image that waits for its bytes.
type uploadJob struct {
	ImageUUID string `json:"imageUuid"`
	UploadURL string `json:"imageUploadUrl"`
	State     string `json:"longJobState"`
	Offset    int64  `json:"offset"`
}

// uploadReply is the answer of APIGetUploadImageJobDetailsMsg.
type uploadReply struct {
	Success bool        `json:"success"`
	Jobs    []uploadJob `json:"existingJobDetails"`
}

func (s *Service) registerUpload() {
	action.Register(s.Actions, action.Action{
		Message: "APIGetUploadImageJobDetailsMsg", Method: "GET", Path: "/images/upload-job/details/{imageId}",
		Access: action.Normal, Doc: "Tells where to send the bytes of an image that was added with an upload:// URL.",
	}, func(ctx context.Context, c *action.Call, p *uploadParams) (uploadReply, error) {
		r := uploadReply{Success: true, Jobs: []uploadJob{}}
		images, err := store.Find(ctx, s.Store, ImageType, "(`uuid` = ? OR `url` = ?) AND `status` = ?", p.ImageID, uploadScheme+p.ImageID, Downloading)
		if err != nil {
			return r, err
		}
		for _, img := range images {
			if !c.Caller.Admin && img.AccountUUID != c.Caller.AccountUUID {
				continue
			}
			jobs, err := s.uploadJobs(ctx, img)
			if err != nil {
				return r, err
			}
			r.Jobs = append(r.Jobs, jobs...)
		}
		return r, nil
	})
}

// openUpload asks each store where the image's bytes are to be sent.
func (s *Service) openUpload(ctx context.Context, st *addImage) error {
	for _, c := range st.Refs {
		url, err := s.uploadURL(ctx, c.StoreUUID, st.Row.UUID)
		if err != nil {
			return err
		}
		c.UploadURL = url
	}
	return nil
}

func (s *Service) tellAddress(ctx context.Context, tx *store.Tx, st *addImage) error {
	for _, c := range st.Refs {
		if err := store.Set(ctx, tx, ImageRefType.Type, c.RefUUID, map[string]any{"installPath": c.UploadURL}); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) uploadURL(ctx context.Context, storeUUID, imageUUID string) (string, error) {
	target, plug, err := s.plugin(ctx, storeUUID)
	if err != nil {
		return "", err
	}
	up, err := plug.Uploader()
	if err != nil {
		return "", errs.Wrap(errs.ClassOf(err), "backup storage "+target.GetName(), err, "takes no uploads")
	}
	r, err := up.BeginUpload(ctx, &pluginv1.BeginUploadRequest{Store: target, ImageUuid: imageUUID})
	if err != nil {
		return "", errs.Wrap(errs.ClassOf(err), "backup storage "+target.GetName(), err, "takes no upload")
	}
	return r.GetUrl(), nil
}

func (s *Service) uploadJobs(ctx context.Context, img *Image) ([]uploadJob, error) {
	refs, err := s.refs(ctx, s.Store, img.UUID, nil, Downloading)
	if err != nil {
		return nil, err
	}
	var jobs []uploadJob
	for _, ref := range refs {
		url, err := s.uploadURL(ctx, ref.BackupStorageUUID, img.UUID)
		if err != nil {
			return nil, err
		}
		jobs = append(jobs, uploadJob{ImageUUID: img.UUID, UploadURL: url, State: "Running"})
	}
	return jobs, nil
}
