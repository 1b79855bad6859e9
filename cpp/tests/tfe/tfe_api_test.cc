#include "tfe/tfe_api.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <string>

namespace tfminimize::tfe {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string error_of_loading(const std::string& library) {
  try {
    TfeApi::load(library);
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "";
}

TEST(TfeApi, LibraryThatIsNotLoadedIsNamed) {
  EXPECT_THAT(error_of_loading("libtensorflow_nowhere.so.2"),
              AllOf(HasSubstr("libtensorflow_nowhere.so.2"), HasSubstr("import tensorflow first")));
}

TEST(TfeApi, MissingSymbolIsNamed) {
  EXPECT_THAT(error_of_loading("libc.so.6"), AllOf(HasSubstr("libc.so.6"), HasSubstr("TF_NewStatus")));
}

}  // namespace
}  // namespace tfminimize::tfe
