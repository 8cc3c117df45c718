#include "core/json.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <limits>
#include <string>

#include "support/error_code.h"

namespace prudent {
namespace {

using tests::error_of;

TEST_CASE("json: values of every type, in file order") {
  const Json json = parse_json(R"( {"b": [1, -2.5e-3, true, false, null, "x"], "a": {"n": 9223372036854775807}} )", "text");
  CHECK(json.as_object("").front().first == "b");
  const auto& items = json.find("b")->as_array("b");
  CHECK(items[0].as_int("") == 1);
  CHECK(items[0].as_number("") == 1.0);
  CHECK(items[1].as_number("") == -2.5e-3);
  CHECK(items[2].as_bool(""));
  CHECK(items[4].is_null());
  CHECK(items[5].as_string("") == "x");
  CHECK(json.find("a")->find("n")->as_int("") == std::numeric_limits<int64_t>::max());
  CHECK(json.find("absent") == nullptr);
  CHECK(parse_json("-9223372036854775808", "text").as_int("") == std::numeric_limits<int64_t>::min());
  CHECK(!parse_json("9223372036854775808", "text").is_int());
}

TEST_CASE("json: escapes, surrogate pairs and UTF-8 come out as UTF-8") {
  CHECK(parse_json(R"("\u0041\n\"\\\/\u00e9\ud83d\ude00")", "text").as_string("") == "A\n\"\\/\xC3\xA9\xF0\x9F\x98\x80");
  CHECK(parse_json("\"\xF0\x9F\x98\x80\"", "text").as_string("") == "\xF0\x9F\x98\x80");
}

TEST_CASE("json: what is written reads back the same") {
  const char* text =
      "{\"i\":-7,\"d\":0.1,\"whole\":3.0,\"big\":1e+300,\"s\":\"a\\\"\\u0001\\n\xC3\xA9\",\"l\":[],\"o\":{},\"n\":null}";
  const Json json = parse_json(text, "text");
  CHECK(json.dump() == text);
  CHECK(parse_json(json.dump(2), "text").dump() == text);
  CHECK(!parse_json(Json(3.0).dump(), "text").is_int());
}

TEST_CASE("json: members are replaced in place, appended and erased") {
  Json json = parse_json(R"({"a":1,"b":2})", "text");
  json.set("a", 5);
  json.set("c", "new");
  json.erase("b");
  CHECK(json.dump() == R"({"a":5,"c":"new"})");
}

TEST_CASE("json: broken text is E_CORRUPT_FILE with the byte") {
  const std::pair<std::string, int> cases[] = {
      {"", 0},
      {"{", 1},
      {"[1,]", 3},
      {"[1 2]", 3},
      {"{\"a\":1,}", 7},
      {"{\"a\" 1}", 5},
      {"{a:1}", 1},
      {"01", 1},
      {"1.", 2},
      {"1e", 2},
      {"-", 0},
      {"tru", 0},
      {"\"a", 2},
      {"\"\\x\"", 1},
      {"\"\\ud800\"", 1},
      {"\"\\udc00\"", 1},
      {"\"\\u12g4\"", 1},
      {"\"\n\"", 1},
      {"\"\xC0\xAF\"", 1},
      {"\"\xED\xA0\x80\"", 1},
      {"\"\xF5\x80\x80\x80\"", 1},
      {"\"\xE2\x82\"", 1},
      {"1 2", 2},
      {"1e999", 0},
      {"NaN", 0},
      {"{\"a\":1,\"a\":2}", 7},
  };
  for (const auto& [text, byte] : cases) {
    CAPTURE(text);
    const Error error = error_of([&] { parse_json(text, "file.json"); });
    CHECK(error.code == "E_CORRUPT_FILE");
    CHECK(error.argument == "file.json");
    CHECK(error.received.ends_with("at byte " + std::to_string(byte)));
  }
}

TEST_CASE("json: nesting is bounded") {
  const auto nested = [](size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  CHECK(error_of([&] { parse_json(nested(100), "text"); }).code.empty());
  CHECK(error_of([&] { parse_json(nested(100000), "text"); }).code == "E_CORRUPT_FILE");
}

TEST_CASE("json: a value of another type names its argument") {
  const Error error = error_of([] { (void)Json("x").as_int("config.json: hidden_size"); });
  CHECK(error.code == "E_TYPE");
  CHECK(std::string(error.what()) == "config.json: hidden_size: expected an integer, received a string");
  CHECK(error_of([] { (void)Json(1.5).as_int("n"); }).received == "a number");
}

}  // namespace
}  // namespace prudent
