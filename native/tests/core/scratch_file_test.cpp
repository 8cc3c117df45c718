#include "core/scratch_file.h"

#include <doctest/doctest.h>
#include <sys/mman.h>

#include <filesystem>
#include <vector>

#include "support/error_code.h"
#include "support/resident.h"
#include "support/temporary_folder.h"

using namespace prudent;
using namespace prudent::tests;

TEST_CASE("scratch file: zeros at first, keeps what is written when its pages are released, and has no name") {
  const TemporaryFolder folder;
  const int64_t bytes = int64_t{4} << 20;
  const auto file = ScratchFile::create(folder.path(), bytes);
  CHECK(file->size() == bytes);
  CHECK(file->data()[bytes - 1] == std::byte{0});
  for (int64_t i = 0; i < bytes; i += 4096) file->data()[i] = static_cast<std::byte>(i / 4096 % 251 + 1);
  CHECK(resident_bytes(file->data()) == bytes);
  file->release(0, bytes);
  CHECK(resident_bytes(file->data()) == 0);
  bool same = true;
  for (int64_t i = 0; i < bytes; i += 4096) same = same && file->data()[i] == static_cast<std::byte>(i / 4096 % 251 + 1);
  CHECK(same);
  CHECK(std::filesystem::is_empty(folder.path()));
}

TEST_CASE("scratch file: only whole pages are released, and nothing beyond the range") {
  const TemporaryFolder folder;
  const auto file = ScratchFile::create(folder.path(), 3 * 4096);
  for (int64_t page = 0; page < 3; ++page) file->data()[page * 4096] = std::byte{1};
  file->release(1, 2 * 4096);  // holds the second page alone as a whole
  CHECK(resident_bytes(file->data()) == 2 * 4096);
  CHECK(ScratchFile::create(folder.path(), 0)->size() == 0);
}

TEST_CASE("scratch file: a folder that is not there, and a disk that is too small, are told at once") {
  const TemporaryFolder folder;
  CHECK(error_of([&] { ScratchFile::create(folder.file("absent"), 4096); }).code == "E_NOT_FOUND");
  CHECK(error_of([&] { ScratchFile::create(folder.path(), int64_t{1} << 60); }).code == "E_IO");
  CHECK(std::filesystem::is_empty(folder.path()));
}
