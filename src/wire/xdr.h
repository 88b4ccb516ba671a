// XDR (RFC 4506), both directions.
#pragma once

#include "wire/xdr_decoder.h"
#include "wire/xdr_encoder.h"
