package network

// AttachSteps are the steps of attaching an L2 network to a cluster.
func (s *Service) AttachSteps() []string { return s.attaching.Steps() }
