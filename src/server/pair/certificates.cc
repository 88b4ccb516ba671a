#include "server/pair/certificates.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <array>
#include <memory>

namespace perdure::server {

namespace {

constexpr int64_t valid_seconds = 50LL * 365 * 86'400;
// Clocks of machines that have just been set up.
constexpr int64_t early_seconds = 86'400;

template <auto free>
struct Free {
  template <class T>
  void operator()(T* p) const {
    free(p);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Free<X509_free>>;
using Memory = std::unique_ptr<BIO, Free<BIO_free>>;

Error failed(const char* what) {
  char text[256];
  ERR_error_string_n(ERR_get_error(), text, sizeof text);
  return error(ErrorKind::invalid, "cannot make a certificate: {}: {}", what, text);
}

std::string text_of(BIO* memory) {
  char* data = nullptr;
  const long length = BIO_get_mem_data(memory, &data);
  return {data, static_cast<size_t>(length)};
}

Result<Identity> to_pem(X509* certificate, EVP_PKEY* key) {
  const Memory first(BIO_new(BIO_s_mem())), second(BIO_new(BIO_s_mem()));
  if (first == nullptr || second == nullptr || PEM_write_bio_X509(first.get(), certificate) != 1 ||
      PEM_write_bio_PrivateKey(second.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1)
    return failed("writing it");
  return Identity{text_of(first.get()), text_of(second.get())};
}

bool add_extension(X509* certificate, X509* issuer, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  using Extension = std::unique_ptr<X509_EXTENSION, Free<X509_EXTENSION_free>>;
  const Extension extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value));
  return extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1;
}

// Unsigned. An authority's issuer is itself.
Result<Certificate> make_unsigned(EVP_PKEY* key, const std::string& name, X509* issuer) {
  Certificate made(X509_new());
  if (made == nullptr) return failed("memory");
  std::array<unsigned char, 16> serial{};
  if (RAND_bytes(serial.data(), static_cast<int>(serial.size())) != 1) return failed("random numbers");
  serial[0] &= 0x7f;
  using Number = std::unique_ptr<BIGNUM, Free<BN_free>>;
  const Number number(BN_bin2bn(serial.data(), static_cast<int>(serial.size()), nullptr));
  X509_NAME* subject = X509_get_subject_name(made.get());
  const bool is_authority = issuer == nullptr;
  if (is_authority) issuer = made.get();
  const bool good =
      X509_set_version(made.get(), X509_VERSION_3) == 1 &&
      BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(made.get())) != nullptr &&
      X509_gmtime_adj(X509_getm_notBefore(made.get()), -early_seconds) != nullptr &&
      X509_gmtime_adj(X509_getm_notAfter(made.get()), valid_seconds) != nullptr &&
      X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                                 reinterpret_cast<const unsigned char*>(name.data()),
                                 static_cast<int>(name.size()), -1, 0) == 1 &&
      X509_set_issuer_name(made.get(), X509_get_subject_name(issuer)) == 1 &&
      X509_set_pubkey(made.get(), key) == 1 &&
      add_extension(made.get(), issuer, NID_basic_constraints,
                    is_authority ? "critical,CA:TRUE,pathlen:0" : "critical,CA:FALSE") &&
      add_extension(made.get(), issuer, NID_key_usage,
                    is_authority ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature");
  if (!good) return failed("its content");
  return made;
}

}  // namespace

Result<Identity> make_authority(const std::string& name) {
  const Key key(EVP_EC_gen("P-256"));
  if (key == nullptr) return failed("a key");
  const Certificate made = TRY(make_unsigned(key.get(), name, nullptr));
  if (X509_sign(made.get(), key.get(), EVP_sha256()) == 0) return failed("signing");
  return to_pem(made.get(), key.get());
}

Result<Identity> make_certificate(const Identity& authority, const std::string& name) {
  const Memory certificate_text(
      BIO_new_mem_buf(authority.certificate.data(), static_cast<int>(authority.certificate.size()))),
      key_text(BIO_new_mem_buf(authority.key.data(), static_cast<int>(authority.key.size())));
  const Certificate issuer(PEM_read_bio_X509(certificate_text.get(), nullptr, nullptr, nullptr));
  const Key issuer_key(PEM_read_bio_PrivateKey(key_text.get(), nullptr, nullptr, nullptr));
  if (issuer == nullptr || issuer_key == nullptr) return failed("reading the authority's");
  const Key key(EVP_EC_gen("P-256"));
  if (key == nullptr) return failed("a key");
  const Certificate made = TRY(make_unsigned(key.get(), name, issuer.get()));
  if (X509_sign(made.get(), issuer_key.get(), EVP_sha256()) == 0) return failed("signing");
  return to_pem(made.get(), key.get());
}

}  // namespace perdure::server
