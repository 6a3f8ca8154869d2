package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/kumo-cloud/kumo/core/action"
)

// maxSkew is how far the Date of a signed request may be off (catalogue
// README, section 2).
const maxSkew = 15 * time.Minute

// credentials reads the Authorization header. Errors are HTTP 400 for a missing
// or unknown scheme and 403 for a Date that is too far off.
func credentials(req *http.Request, now time.Time, checkZone func(context.Context) bool) (*action.Credentials, error) {
	h := strings.TrimSpace(req.Header.Get("Authorization"))
	if h == "" {
		return nil, action.HTTPErrorf(http.StatusBadRequest, "the header Authorization is missing; send OAuth <session> or ZStack <access key id>:<signature>")
	}
	scheme, value, _ := strings.Cut(h, " ")
	value = strings.TrimSpace(value)
	switch {
	case strings.EqualFold(scheme, "OAuth") && value != "":
		return &action.Credentials{SessionUUID: value}, nil
	case strings.EqualFold(scheme, "ZStack"):
		return signed(req, value, now, checkZone)
	}
	return nil, action.HTTPErrorf(http.StatusBadRequest, "the header Authorization has an unknown form; send OAuth <session> or ZStack <access key id>:<signature>")
}

func signed(req *http.Request, value string, now time.Time, checkZone func(context.Context) bool) (*action.Credentials, error) {
	id, sig, ok := strings.Cut(value, ":")
	if !ok || id == "" || sig == "" {
		return nil, action.HTTPErrorf(http.StatusBadRequest, "the header Authorization is not ZStack <access key id>:<signature>")
	}
	date := req.Header.Get("Date")
	if date == "" {
		return nil, action.HTTPErrorf(http.StatusBadRequest, "a signed request needs a Date header")
	}
	if err := checkDate(date, now, checkZone(req.Context())); err != nil {
		return nil, err
	}
	return &action.Credentials{AccessKeyID: id, Signature: sig, Method: req.Method, Date: date,
		URI: strings.TrimPrefix(req.URL.Path, contextPath)}, nil
}

// dateForms are the ways a Date may be written: with a zone's abbreviation,
// and with a name or offset, which is cut off first.
const dateForm = "Mon, 2 Jan 2006 15:04:05"

// zones are the abbreviations that time.Parse cannot know. CST is China's, as
// the API's clients mean it.
var zones = map[string]int{"GMT": 0, "UTC": 0, "Z": 0, "CST": 8 * 3600, "HKT": 8 * 3600, "JST": 9 * 3600, "KST": 9 * 3600}

// checkDate refuses a Date too far off. Without checkZone a Date also passes
// when its clock time fits the server's, whatever its zone: clients write the
// local time with a zone name that means several zones. With it, the instant
// must fit.
func checkDate(text string, now time.Time, checkZone bool) error {
	text = strings.TrimSpace(text)
	i := strings.LastIndexByte(text, ' ')
	if i < 0 {
		return badDate(text)
	}
	clock, zone := text[:i], text[i+1:]
	t, err := time.Parse(dateForm, clock)
	if err != nil {
		return badDate(text)
	}
	if loc := zoneOf(zone); loc != nil && near(time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, loc), now) {
		return nil
	}
	if !checkZone && near(time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, now.Location()), now) {
		return nil
	}
	return action.HTTPErrorf(http.StatusForbidden, "requestTimeTooSkewed: the Date %q is more than 15 minutes off", text)
}

func badDate(text string) error {
	return action.HTTPErrorf(http.StatusBadRequest, "the Date %q is not in the form Mon, 02 Jan 2006 15:04:05 GMT", text)
}

func near(t, now time.Time) bool {
	d := t.Sub(now)
	return d <= maxSkew && d >= -maxSkew
}

// zoneOf returns the location of an abbreviation, offset or name; nil when it
// is unknown.
func zoneOf(name string) *time.Location {
	if off, ok := zones[strings.ToUpper(name)]; ok {
		return time.FixedZone(name, off)
	}
	if t, err := time.Parse("-0700", name); err == nil {
		return t.Location()
	}
	if !strings.Contains(name, "/") || strings.Contains(name, "..") {
		return nil
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil
	}
	return loc
}
