"""Tables come back from files as they went in; what is no table is said to be none."""

import pandas as pd
import pytest

from automl.errors import DataError
from forecastle.tables import read_table, write_table


@pytest.fixture
def frame():
    return pd.DataFrame({"shop": ["007", "8"], "week": ["2020-01-02", "2020-01-09"], "sold": [1.5, 0.1 + 0.2]})


@pytest.mark.parametrize("name", ["a.csv", "deep/er/a.csv.gz", "a.parquet", "A.CSV"])
def test_round_trip_keeps_ids_and_every_digit(tmp_path, frame, name):
    path = write_table(frame, tmp_path / name)
    pd.testing.assert_frame_equal(read_table(path, text=["shop"]), frame)


def test_a_byte_order_mark_does_not_become_part_of_the_first_name(tmp_path, frame):
    path = tmp_path / "excel.csv"
    path.write_bytes(b"\xef\xbb\xbf" + frame.to_csv(index=False).encode())
    assert read_table(path).columns[0] == "shop"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.xlsx", b"x", "neither CSV nor Parquet"),
        ("a.csv", b"", "cannot be read as CSV"),
        ("a.csv", b"a,b\n", "no row"),
        ("a.csv", b'a,b\n1,2\n1,2,3,4\n"', "cannot be read as CSV"),
        ("a.csv", b"a,b\n\xff\xfe,2\n", "cannot be read as CSV"),
        ("a.parquet", b"PAR1 but not really", "cannot be read as PARQUET"),
    ],
)
def test_what_is_no_table_is_a_data_error_that_names_the_file(tmp_path, name, content, reason):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=reason) as caught:
        read_table(path)
    assert name in str(caught.value)


def test_missing_file_and_unwritable_folder_are_os_errors(tmp_path, frame):
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "nothing.csv")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        write_table(frame, tmp_path / "file" / "a.csv")
