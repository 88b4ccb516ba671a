#include "server/pair/tls.h"

#include <asio/ssl/context.hpp>

namespace perdure::server {

Result<std::shared_ptr<asio::ssl::context>> make_tls_context(const TlsFiles& files) {
  auto context = std::make_shared<asio::ssl::context>(asio::ssl::context::tls);
  const auto failed = [](const std::string& file, const asio::error_code& problem) {
    return error(ErrorKind::invalid, "{}: {}", file, problem.message());
  };
  asio::error_code problem;
  if (SSL_CTX_set_min_proto_version(context->native_handle(), TLS1_3_VERSION) != 1)
    return error(ErrorKind::unsupported, "this machine's OpenSSL has no TLS 1.3");
  // A channel lives as long as it can, and begins anew from nothing.
  SSL_CTX_set_session_cache_mode(context->native_handle(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context->native_handle(), 0);
  context->set_verify_mode(asio::ssl::verify_peer | asio::ssl::verify_fail_if_no_peer_cert, problem);
  if (problem) return failed("TLS", problem);
  context->load_verify_file(files.authority, problem);
  if (problem) return failed(files.authority, problem);
  context->use_certificate_file(files.certificate, asio::ssl::context::pem, problem);
  if (problem) return failed(files.certificate, problem);
  context->use_private_key_file(files.key, asio::ssl::context::pem, problem);
  if (problem) return failed(files.key, problem);
  return context;
}

}  // namespace perdure::server
