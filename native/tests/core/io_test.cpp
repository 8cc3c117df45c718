#include "core/io.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "support/error_code.h"
#include "support/temporary_folder.h"

namespace prudent {
namespace {

namespace fs = std::filesystem;
using tests::error_of;
using tests::TemporaryFolder;

int64_t entries(const std::string& folder) { return std::distance(fs::directory_iterator(folder), fs::directory_iterator()); }

TEST_CASE("io: an atomic file appears whole or not at all") {
  const TemporaryFolder folder;
  write_text_file(folder.file("a"), "first");
  {
    AtomicFile abandoned(folder.file("a"));
    abandoned.write("second", 6);
    CHECK(read_text_file(folder.file("a")) == "first");
  }
  CHECK(read_text_file(folder.file("a")) == "first");
  write_text_file(folder.file("a"), "");
  CHECK(read_text_file(folder.file("a")).empty());
  CHECK(entries(folder.path()) == 1);
}

TEST_CASE("io: failures have codes and name the path") {
  const TemporaryFolder folder;
  CHECK(error_of([&] { (void)read_text_file(folder.file("none")); }).code == "E_NOT_FOUND");
  CHECK(error_of([&] { (void)read_text_file(folder.path()); }).code == "E_IO");
  CHECK(error_of([&] { AtomicFile file(folder.file("none/a")); }).code == "E_NOT_FOUND");
  CHECK(error_of([&] { sync_folder(folder.file("none")); }).argument == folder.file("none"));
}

TEST_CASE("io: a folder appears with all its files, or not at all") {
  const TemporaryFolder folder;
  create_folder_atomically(folder.file("new/"), [](const std::string& temporary) { write_text_file(temporary + "/a", "text"); });
  CHECK(read_text_file(folder.file("new/a")) == "text");
  CHECK(error_of([&] { create_folder_atomically(folder.file("new"), [](const std::string&) {}); }).code == "E_EXISTS");
  const auto failing = [](const std::string& temporary) {
    write_text_file(temporary + "/a", "text");
    fail("E_DATA", "a", "b", "c");
  };
  CHECK(error_of([&] { create_folder_atomically(folder.file("other"), failing); }).code == "E_DATA");
  CHECK(entries(folder.path()) == 1);
}

TEST_CASE("io: an empty file maps to nothing") {
  const TemporaryFolder folder;
  CHECK(MappedFile::open(folder.write("empty", ""))->size() == 0);
  const auto mapping = MappedFile::open(folder.write("full", "abc"));
  mapping->data()[0] = std::byte{'z'};
  CHECK(read_text_file(folder.file("full")) == "abc");
}

}  // namespace
}  // namespace prudent
