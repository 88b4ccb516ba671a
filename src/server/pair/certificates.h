// The pair's own certificate authority, which makes a certificate for each blade when the pair is made. Only
// what it has signed is a blade (tls.h).
#pragma once

#include <string>

#include "base/result.h"

namespace perdure::server {

struct Identity {
  std::string certificate, key;  // PEM
};

// ECDSA P-256, valid for 50 years: nobody is asked to renew what only two machines ever show each other.
Result<Identity> make_authority(const std::string& name);
// `name` is the subject's common name.
Result<Identity> make_certificate(const Identity& authority, const std::string& name);

}  // namespace perdure::server
