// The side of a comparison as bench/support/side.mjs speaks to it: a JSON line in, a JSON line out.
#pragma once

namespace prudent::bench {

void serve();

}  // namespace prudent::bench
