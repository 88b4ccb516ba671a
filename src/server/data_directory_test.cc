#include "server/data_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "server/config.h"

namespace perdure::server {
namespace {

namespace files = std::filesystem;
using ::testing::HasSubstr;

class DataDirectoryTest : public ::testing::Test {
 protected:
  DataDirectoryTest() {
    std::string pattern = ::testing::TempDir() + "data_directory.XXXXXX";
    root_ = mkdtemp(pattern.data());
  }
  ~DataDirectoryTest() override { files::remove_all(root_); }

  files::path root_;
};

TEST_F(DataDirectoryTest, TheFirstStartMakesItAndTheNextOnesReadIt) {
  std::string directory = root_ / "a" / "b";
  ConfigFile first = config_of_directory(directory).value();
  EXPECT_TRUE(first.is_new);
  EXPECT_EQ(first.text, first_config_text());
  struct stat status = {};
  ASSERT_EQ(stat(directory.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700U);

  std::ofstream(first.path, std::ios::app) << "# mine\n";
  ConfigFile second = config_of_directory(directory).value();
  EXPECT_FALSE(second.is_new);
  EXPECT_EQ(second.text, first.text + "# mine\n");
}

TEST_F(DataDirectoryTest, IsMadeWithAllAboveItOrWasThere) {
  std::string directory = root_ / "c" / "d" / "";
  EXPECT_TRUE(make_data_directory(directory));
  EXPECT_TRUE(make_data_directory(directory));
  EXPECT_TRUE(files::is_directory(directory));
  std::ofstream(root_ / "file") << "x";
  EXPECT_THAT(make_data_directory(root_ / "file" / "e").error().message, HasSubstr("cannot create"));
}

TEST_F(DataDirectoryTest, AnEmptyDirectoryWillDoWithOrWithoutASlash) {
  EXPECT_TRUE(config_of_directory(root_.string() + "/").value().is_new);
  EXPECT_FALSE(config_of_directory(root_.string()).value().is_new);
}

TEST_F(DataDirectoryTest, SomebodyElsesDirectoryIsLeftAlone) {
  std::ofstream(root_ / "thesis.txt") << "x";
  EXPECT_THAT(config_of_directory(root_).error().message, HasSubstr("is not a data directory"));
  EXPECT_FALSE(files::exists(root_ / config_name));
  EXPECT_FALSE(config_of_directory(root_ / "thesis.txt"));
}

TEST_F(DataDirectoryTest, AMissingConfigurationIsNamed) {
  EXPECT_THAT(read_config_file(root_ / "none.toml").error().message, HasSubstr("none.toml: No such file"));
}

}  // namespace
}  // namespace perdure::server
