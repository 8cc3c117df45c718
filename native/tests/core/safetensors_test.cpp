#include "core/safetensors.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <doctest/doctest.h>

#include <cstring>
#include <filesystem>
#include <string>

#include "core/json.h"
#include "support/error_code.h"
#include "support/resident.h"
#include "support/temporary_folder.h"

namespace prudent {
namespace {

using tests::error_of;
using tests::TemporaryFolder;

std::string file_bytes(const std::string& header, size_t data_bytes) {
  uint64_t length = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + std::string(data_bytes, '\x3f');
}

std::string entry(const std::string& name, const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return "\"" + name + R"(":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

TEST_CASE("safetensors: pages of a tensor that was read leave the process's memory, and come back when they are read again") {
  const TemporaryFolder folder;
  const std::string path = folder.file("model.safetensors");
  const int64_t count = 1 << 20;
  write_safetensors(path, {{"a", at::arange(count, at::kFloat)}, {"b", at::full({16}, 2.0f)}}, {});
  const auto file = SafetensorsFile::open(path);
  const at::Tensor a = file->tensor("a");
  const double sum = a.to(at::kDouble).sum().item<double>();
  const int64_t read = tests::resident_bytes(a.const_data_ptr());
  REQUIRE(read >= count * 4);
  file->drop_pages("a");
  CHECK(tests::resident_bytes(a.const_data_ptr()) <= read - count * 4 + 2 * 4096);
  CHECK(a.to(at::kDouble).sum().item<double>() == sum);
  CHECK(file->tensor("b").to(at::kDouble).sum().item<double>() == 32.0);
}

TEST_CASE("safetensors: tensors of every dtype come back the same, with metadata") {
  const TemporaryFolder folder;
  NamedTensors tensors;
  for (const at::ScalarType type :
       {at::kByte, at::kBFloat16, at::kFloat, at::kLong, at::kHalf, at::kDouble, at::kInt, at::kBool}) {
    tensors.emplace_back(c10::toString(type), at::arange(5, at::kFloat).to(type).view({5, 1}));
  }
  tensors.emplace_back("scalar", at::full({}, 2.5, at::kFloat));
  tensors.emplace_back("none", at::empty({0, 3}, at::kFloat));
  write_safetensors(folder.file("a.safetensors"), tensors, {{"format", "pt"}, {"step", "7"}});
  const auto file = SafetensorsFile::open(folder.file("a.safetensors"));
  CHECK(file->metadata().at("step") == "7");
  CHECK(file->names().size() == tensors.size());
  for (const auto& [name, tensor] : tensors) {
    CAPTURE(name);
    const at::Tensor read = file->tensor(name);
    CHECK((read.scalar_type() == tensor.scalar_type()));
    CHECK((read.sizes() == tensor.sizes()));
    CHECK(read.equal(tensor));
  }
}

TEST_CASE("safetensors: a view outlives its file object, and writes to it stay in this process") {
  const TemporaryFolder folder;
  write_safetensors(folder.file("a.safetensors"), {{"w", at::arange(4, at::kFloat)}}, {});
  at::Tensor view = SafetensorsFile::open(folder.file("a.safetensors"))->tensor("w");
  const at::Tensor again = SafetensorsFile::open(folder.file("a.safetensors"))->tensor("w");
  view.fill_(9.0);
  CHECK(view.sum().item<float>() == 36.0f);
  CHECK(again.sum().item<float>() == 6.0f);
  CHECK(SafetensorsFile::open(folder.file("a.safetensors"))->tensor("w").sum().item<float>() == 6.0f);
}

TEST_CASE("safetensors: data that are not aligned are copied") {
  const TemporaryFolder folder;
  std::string bytes = file_bytes("{" + entry("b", "U8", "[1]", "[0,1]") + "," + entry("f", "F32", "[1]", "[1,5]") + "}", 5);
  const float value = 1.25f;
  std::memcpy(bytes.data() + bytes.size() - 4, &value, 4);
  CHECK(SafetensorsFile::open(folder.write("a.safetensors", bytes))->tensor("f").item<float>() == value);
}

TEST_CASE("safetensors: every broken header is E_CORRUPT_FILE that says what is wrong") {
  const TemporaryFolder folder;
  const std::string good = entry("a", "F32", "[2]", "[0,8]");
  uint64_t huge = uint64_t{1} << 62;
  std::string huge_header(8, '\0');
  std::memcpy(huge_header.data(), &huge, 8);
  const std::tuple<const char*, std::string, const char*> cases[] = {
      {"an empty file", "", "0 bytes"},
      {"no room for the header length", "abc", "3 bytes"},
      {"a header length beyond any", huge_header + "{}", "4611686018427387904"},
      {"a header beyond the file", file_bytes("{}", 0).substr(0, 9), "9 bytes"},
      {"a pointer of Git LFS", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 8\n", "git lfs pull"},
      {"a header that is no object", file_bytes("[]", 0), "another byte"},
      {"a header that is no JSON", file_bytes("{\"a\":", 0), "the end of the text"},
      {"a name twice", file_bytes("{" + good + "," + good + "}", 8), "a second time"},
      {"metadata that are no strings", file_bytes(R"({"__metadata__":{"k":1}})", 0), "an integer"},
      {"an entry without members", file_bytes(R"({"a":{}})", 0), "other members"},
      {"an entry with another member", file_bytes("{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4],\"x\":1}}", 4),
       "other members"},
      {"a dtype that nobody knows", file_bytes("{" + entry("a", "F33", "[2]", "[0,8]") + "}", 8), "F33"},
      {"a negative shape", file_bytes("{" + entry("a", "F32", "[-2]", "[0,8]") + "}", 8), "-2"},
      {"a fractional shape", file_bytes("{" + entry("a", "F32", "[2.0]", "[0,8]") + "}", 8), "2.0"},
      {"a shape that overflows", file_bytes("{" + entry("a", "F32", "[4294967296,4294967296]", "[0,8]") + "}", 8), "an overflow"},
      {"a negative offset", file_bytes("{" + entry("a", "F32", "[2]", "[-8,0]") + "}", 8), "[-8,0]"},
      {"three offsets", file_bytes("{" + entry("a", "F32", "[2]", "[0,8,8]") + "}", 8), "[0,8,8]"},
      {"offsets that run backwards", file_bytes("{" + entry("a", "F32", "[2]", "[8,0]") + "}", 8), "[8, 0]"},
      {"offsets beyond the file", file_bytes("{" + entry("a", "F32", "[2]", "[4,12]") + "}", 8), "[4, 12]"},
      {"fewer bytes than the shape wants", file_bytes("{" + entry("a", "F32", "[3]", "[0,8]") + "}", 8), "8"},
      {"an overlap", file_bytes("{" + good + "," + entry("b", "F32", "[2]", "[4,12]") + "}", 12), "an overlap"},
      {"a gap", file_bytes("{" + good + "," + entry("b", "F32", "[1]", "[12,16]") + "}", 16), "a gap"},
      {"a gap at the start", file_bytes("{" + entry("a", "F32", "[1]", "[4,8]") + "}", 8), "a gap"},
      {"bytes after the last tensor", file_bytes("{" + good + "}", 9), "9 data bytes"},
  };
  for (const auto& [what, bytes, received] : cases) {
    CAPTURE(what);
    const std::string path = folder.write("bad.safetensors", bytes);
    const Error error = error_of([&] { (void)SafetensorsFile::open(path); });
    CHECK(error.code == "E_CORRUPT_FILE");
    CHECK(error.argument == path);
    CAPTURE(error.received);
    CHECK(error.received.find(received) != std::string::npos);
  }
}

TEST_CASE("safetensors: missing files, names and dtypes have their own codes") {
  const TemporaryFolder folder;
  CHECK(error_of([&] { (void)SafetensorsFile::open(folder.file("none")); }).code == "E_NOT_FOUND");
  CHECK(error_of([&] { (void)SafetensorsFile::open(folder.path()); }).code == "E_IO");
  CHECK(error_of([&] { (void)SafetensorsFolder::open(folder.path()); }).code == "E_NOT_FOUND");
  const auto file =
      SafetensorsFile::open(folder.write("f8.safetensors", file_bytes("{" + entry("a", "F8_E4M3", "[2]", "[0,2]") + "}", 2)));
  CHECK(error_of([&] { (void)file->tensor("a"); }).code == "E_DTYPE");
  CHECK(error_of([&] { (void)file->tensor("b"); }).code == "E_MISSING_TENSOR");
}

NamedTensors three_tensors() {
  return {{"a", at::full({10}, 1.0, at::kFloat)}, {"b", at::full({30}, 2.0, at::kFloat)}, {"c", at::full({5}, 3.0, at::kFloat)}};
}

int64_t safetensors_files(const std::string& folder) {
  int64_t count = 0;
  for (const auto& file : std::filesystem::directory_iterator(folder)) count += file.path().extension() == ".safetensors" ? 1 : 0;
  return count;
}

TEST_CASE("safetensors: shards respect their limit and the index finds every tensor") {
  const TemporaryFolder folder;
  write_safetensors_folder(folder.path(), three_tensors(), 60, {});
  CHECK(std::filesystem::exists(folder.file("model-00002-of-00003.safetensors")));
  const Json index = parse_json(read_text_file(folder.file("model.safetensors.index.json")), "index");
  CHECK(index.find("metadata")->find("total_size")->as_int("") == 180);
  const SafetensorsFolder read = SafetensorsFolder::open(folder.path());
  CHECK((read.names() == std::vector<std::string>{"a", "b", "c"}));
  for (const auto& [name, tensor] : three_tensors()) CHECK(read.tensor(name).equal(tensor));
}

TEST_CASE("safetensors: a new set takes the place of the old one, whichever form either has") {
  const TemporaryFolder folder;
  const auto sum_of_b = [&] { return SafetensorsFolder::open(folder.path()).tensor("b").sum().item<float>(); };
  auto tensors = three_tensors();
  for (const auto& [limit, files] : {std::pair<int64_t, int64_t>{60, 3}, {60, 3}, {1000, 1}, {150, 2}, {60, 3}}) {
    tensors[1].second = tensors[1].second.add(1.0);
    write_safetensors_folder(folder.path(), tensors, limit, {});
    CHECK(sum_of_b() == tensors[1].second.sum().item<float>());
    CHECK(safetensors_files(folder.path()) == files);
  }
}

TEST_CASE("safetensors: a write that fails or is cancelled leaves the former weights and nothing else") {
  const TemporaryFolder folder;
  write_safetensors_folder(folder.path(), three_tensors(), 60, {});
  const auto token = std::make_shared<CancelToken>();
  token->cancel();
  auto tensors = three_tensors();
  CHECK(error_of([&] { write_safetensors_folder(folder.path(), tensors, 60, Job(token, nullptr)); }).code == "E_CANCELLED");
  tensors[2].second = tensors[2].second.to(at::kComplexFloat);
  CHECK(error_of([&] { write_safetensors_folder(folder.path(), tensors, 60, {}); }).code == "E_DTYPE");
  CHECK(safetensors_files(folder.path()) == 3);
  CHECK(SafetensorsFolder::open(folder.path()).tensor("c").equal(three_tensors()[2].second));
  for (const auto& file : std::filesystem::directory_iterator(folder.path())) CHECK(file.path().extension() != ".tmp");
}

TEST_CASE("safetensors: an index may only name shards of its own folder that hold what it says") {
  const TemporaryFolder folder;
  write_safetensors(folder.file("one.safetensors"), {{"a", at::zeros({2})}}, {});
  write_safetensors(folder.file("two.safetensors"), {{"a", at::zeros({2})}, {"b", at::zeros({2})}}, {});
  const std::pair<const char*, const char*> cases[] = {
      {R"({"weight_map":{"a":"../one.safetensors"}})", "../one.safetensors"},
      {R"({"weight_map":{"a":"/etc/passwd"}})", "/etc/passwd"},
      {R"({"weight_map":{"a":".."}})", ".."},
      {R"({"weight_map":{"a":""}})", "\"\""},
      {R"({"weight_map":{"a":1}})", "an integer"},
      {R"({"weight_map":[]})", "an array"},
      {R"({})", "none"},
      {R"({"weight_map":{"z":"one.safetensors"}})", "a shard without it"},
      {R"({"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})", "in two"},
  };
  for (const auto& [text, received] : cases) {
    CAPTURE(text);
    folder.write("model.safetensors.index.json", text);
    const Error error = error_of([&] { (void)SafetensorsFolder::open(folder.path()); });
    CHECK(error.code == "E_CORRUPT_FILE");
    CHECK(error.received.find(received) != std::string::npos);
  }
  folder.write("model.safetensors.index.json", R"({"weight_map":{"a":"gone.safetensors"}})");
  CHECK(error_of([&] { (void)SafetensorsFolder::open(folder.path()); }).code == "E_NOT_FOUND");
}

}  // namespace
}  // namespace prudent
