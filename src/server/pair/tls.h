// Mutual authentication of two blades: TLS 1.3 with certificates of the pair's own authority.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"

namespace asio::ssl {
class context;
}

namespace perdure::server {

// PEM files.
struct TlsFiles {
  std::string authority, certificate, key;
};

// Of either end. Whoever is at the other one must have a certificate of the same authority.
Result<std::shared_ptr<asio::ssl::context>> make_tls_context(const TlsFiles& files);

}  // namespace perdure::server
